#include "efi/core/duplicate_dialog.h"

#include "efi/core/boot_file.h"
#include "efi/core/web_disk.h"

namespace dupengine::efi {
namespace {

constexpr std::uint32_t kForever = 0xffffffff;
using Line = Text<300>;

class Bar final : public DuplicateWatcher {
  public:
    explicit Bar(Firmware& firmware) : firmware_(firmware) {}

    void at(TextView phase, std::uint64_t done, std::uint64_t total) override {
        constexpr std::uint64_t kWidth = 40;
        const std::uint64_t percent = done / (total / 100 + 1);
        // A serial line is slow: nothing is said that does not change.
        if (done != total && percent == percent_) return;
        percent_ = percent;
        Line line;
        line.add("\r[");
        for (std::uint64_t i = 0; i < kWidth; ++i)
            line.add(i * 100 < percent * kWidth || done == total ? '#' : '.');
        line.add("] ")
            .number(done / kMiB)
            .add(" of ")
            .number(total / kMiB)
            .add(" MiB, ")
            .add(phase)
            .add("  ");
        firmware_.print(done == total ? line.add('\n') : line);
    }

  private:
    Firmware& firmware_;
    std::uint64_t percent_ = ~std::uint64_t{0};
};

char ask_key(Firmware& firmware, TextView question) {
    firmware.print(question);
    const char key = firmware.wait_key(kForever);
    firmware.print(Line().add(key).add('\n'));
    return key;
}

std::optional<std::size_t> disk_of(const Survey& survey, char key) {
    const std::size_t number = key >= '1' && key <= '9' ? static_cast<std::size_t>(key - '1') : survey.count;
    return number < survey.count ? std::optional(number) : std::nullopt;
}

TextView image_of(const Survey& survey) {
    return survey.profile() == nullptr ? TextView() : survey.profile()->boot.duplicate_from.view();
}

bool confirms(Firmware& firmware, const DuplicatePlan& plan, TextView source, std::size_t target) {
    Line line;
    line.add(source).add(" goes onto disk ").number(target + 1).add(": ");
    line.number(plan.copied_count).add(plan.copied_count == 1 ? " partition, " : " partitions, ");
    line.number(plan.bytes / kMiB).add(" MiB. All that disk ").number(target + 1).add(" holds is lost");
    line.add(plan.kept.count > 0 ? ", but its profile stays" : "; it has no profile to keep");
    firmware.print(line.add(".\nPress y to do that. "));
    const char key = firmware.wait_key(kForever);
    firmware.print(Line().add(key).add('\n'));
    return key == 'y';
}

/// What is copied, however it is called.
struct NamedSource {
    Disk& disk;
    const DiskSeen& seen;
    TextView name;
};

DuplicateResult duplicate_onto(Firmware& firmware, const Survey& survey, const NamedSource& source,
                               std::size_t target, Buffer scratch) {
    DuplicatePlan plan;
    const TextView reason = plan_duplicate({source.disk, source.seen},
                                           {firmware.disk(target), survey.disks[target]}, scratch, plan);
    if (!reason.empty()) return {reason};
    if (!confirms(firmware, plan, source.name, target)) return {"nothing was written"};
    Bar bar(firmware);
    const DuplicateResult result =
        apply_duplicate(plan, source.disk, firmware.writable_disk(target), scratch, bar);
    if (result.reason.empty())
        firmware.print(Line()
                           .add("Disk ")
                           .number(target + 1)
                           .add(" is complete and verified. It has taken up no role yet: ")
                           .add("started as it is, it is the other machine once more.\n"));
    else if (result.has_begun)
        firmware.print(Line().add("\nDisk ").number(target + 1).add(" is unfinished and does not start.\n"));
    return result;
}

/// Reads FILE.digests, and FILE.digests.sig where signatures are wanted.
TextView read_digests(Firmware& firmware, TextView url, PieceDigests& into) {
    FilePlace place;
    place.path.add(url).add(".digests");
    Bytes content, signature;
    if (place.path.cut()) return "its address is too long";
    if (const TextView reason = read_boot_file(firmware, place, FileUse::kProgram, content); !reason.empty())
        return reason;
    if (firmware.trust().wants_signatures()) {
        place.path.add(".sig");
        if (place.path.cut()) return "its address is too long";
        // Without one it is as if it were empty.
        if (!read_boot_file(firmware, place, FileUse::kSignature, signature).empty()) signature = {};
        const TextView fault =
            fault_text(SignedThing::kImage, check_file(firmware.trust(), content, as_text(signature)));
        if (!fault.empty()) return fault;
    }
    return read_piece_digests(content, into);
}

DuplicateResult duplicate_image(Firmware& firmware, const Survey& survey, std::size_t target,
                                Buffer scratch) {
    const TextView url = image_of(survey);
    WebAddress address;
    PieceDigests digests;
    if (const TextView fault = read_web_address(url, address); !fault.empty()) return {fault};
    if (const TextView reason = read_digests(firmware, url, digests); !reason.empty()) return {reason};
    const Buffer rest = scratch.first(kSurveyScratchBytes);
    WebDisk image(firmware, url, address, digests, scratch.subspan(rest.size(), kMiB));
    DiskSeen seen;
    seen.no_table = read_gpt(image, rest, seen.table);
    DuplicateResult result = image.fault().empty()
                                 ? duplicate_onto(firmware, survey, {image, seen, url}, target, rest)
                                 : DuplicateResult{};
    if (!image.fault().empty()) result.reason = image.fault();
    return result;
}

}  // namespace

TextView no_duplicate(const Survey& survey) {
    if (survey.count == 0) return "there is no disk";
    if (!image_of(survey).empty()) return {};
    if (survey.count < 2) return "there is only one disk";
    for (const DiskSeen& seen : survey.seen())
        if (seen.no_table.empty()) return {};
    return "no disk has a GUID partition table";
}

DuplicateResult duplicate_by_keys(Firmware& firmware, const Survey& survey, Buffer scratch) {
    const TextView image = image_of(survey);
    if (!image.empty()) firmware.print(Line().add("w is ").add(image).add(".\n"));
    const char key = ask_key(firmware, "Copy which disk? ");
    const bool is_image = key == 'w' && !image.empty();
    const auto source = disk_of(survey, key);
    if (!source && !is_image) return {"there is no such disk"};
    const auto target = disk_of(survey, ask_key(firmware, "Onto which disk? "));
    if (!target) return {"there is no such disk"};
    if (is_image) return duplicate_image(firmware, survey, *target, scratch);
    if (*source == *target) return {"a disk cannot be copied onto itself"};
    Text<16> name;
    name.add("Disk ").number(*source + 1);
    return duplicate_onto(firmware, survey, {firmware.disk(*source), survey.disks[*source], name}, *target,
                          scratch.first(kSurveyScratchBytes));
}

}  // namespace dupengine::efi
