#include "efi/core/duplicate_dialog.h"

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

std::optional<std::size_t> ask_disk(Firmware& firmware, const Survey& survey, TextView question) {
    firmware.print(question);
    const char key = firmware.wait_key(kForever);
    firmware.print(Line().add(key).add('\n'));
    const std::size_t number = key >= '1' && key <= '9' ? static_cast<std::size_t>(key - '1') : survey.count;
    if (number >= survey.count) return std::nullopt;
    return number;
}

bool confirms(Firmware& firmware, const DuplicatePlan& plan, std::size_t source, std::size_t target) {
    Line line;
    line.add("Disk ").number(source + 1).add(" goes onto disk ").number(target + 1).add(": ");
    line.number(plan.copied_count).add(plan.copied_count == 1 ? " partition, " : " partitions, ");
    line.number(plan.bytes / kMiB).add(" MiB. All that disk ").number(target + 1).add(" holds is lost");
    line.add(plan.kept.count > 0 ? ", but its profile stays" : "; it has no profile to keep");
    firmware.print(line.add(".\nPress y to do that. "));
    const char key = firmware.wait_key(kForever);
    firmware.print(Line().add(key).add('\n'));
    return key == 'y';
}

}  // namespace

TextView no_duplicate(const Survey& survey) {
    if (survey.count < 2) return survey.count == 0 ? "there is no disk" : "there is only one disk";
    for (const DiskSeen& seen : survey.seen())
        if (seen.no_table.empty()) return {};
    return "no disk has a GUID partition table";
}

DuplicateResult duplicate_by_keys(Firmware& firmware, const Survey& survey, Buffer scratch) {
    const auto source = ask_disk(firmware, survey, "Copy which disk? ");
    if (!source) return {"there is no such disk"};
    const auto target = ask_disk(firmware, survey, "Onto which disk? ");
    if (!target) return {"there is no such disk"};
    if (*source == *target) return {"a disk cannot be copied onto itself"};
    DuplicatePlan plan;
    const TextView reason = plan_duplicate({firmware.disk(*source), survey.disks[*source]},
                                           {firmware.disk(*target), survey.disks[*target]}, scratch, plan);
    if (!reason.empty()) return {reason};
    if (!confirms(firmware, plan, *source, *target)) return {"nothing was written"};
    Bar bar(firmware);
    const DuplicateResult result =
        apply_duplicate(plan, firmware.disk(*source), firmware.writable_disk(*target), scratch, bar);
    if (result.reason.empty())
        firmware.print(Line()
                           .add("Disk ")
                           .number(*target + 1)
                           .add(" is complete and verified. It has taken up no role yet: ")
                           .add("started as it is, it is the other machine once more.\n"));
    else if (result.has_begun)
        firmware.print(Line().add("\nDisk ").number(*target + 1).add(" is unfinished and does not start.\n"));
    return result;
}

}  // namespace dupengine::efi
