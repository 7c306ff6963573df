#include "efi/core/loaders.h"

#include "efi/core/boot_file.h"
#include "image/signature_format.h"

namespace dupengine::efi {
namespace {

constexpr std::size_t kLargestOwn = 2 * kMiB;  // dupengine.efi is far smaller
constexpr TextView kItself = "it is dupengine.efi itself";
constexpr TextView kNotThere = "it is not there";  // of firmware (services.cc)

// Where installers put them, after the place where firmware looks by itself (UEFI 2.10, 3.5.1.1).
constexpr std::array<TextView, 4> kUsualPaths = {"/EFI/BOOT/BOOTX64.EFI", "/EFI/systemd/systemd-bootx64.efi",
                                                 "/EFI/debian/shimx64.efi", "/EFI/debian/grubx64.efi"};

TextView read_loader(Firmware& firmware, FilePlace& place, TextView path, Bytes& content) {
    place.path.clear();
    place.path.add(path);
    if (const TextView reason = firmware.read_file(place, FileUse::kProgram, content); !reason.empty())
        return reason;
    return is_own_copy(content) ? kItself : TextView();
}

TextView not_allowed(Firmware& firmware, const FilePlace& place, Bytes content) {
    if (firmware.trust().secure_boot) return {};
    return not_vouched(firmware, place, SignedThing::kLoader, content);
}

// By its GUID: on the disk of the profile, or on exactly one other. Copies of a disk have the same GUIDs.
TextView find_named(const Survey& survey, const Guid& wanted, FilePlace& place) {
    place.partition = wanted;
    if (survey.home && survey.disks[*survey.home].table.by_guid(wanted) != nullptr)
        return (place.disk = *survey.home, TextView());
    std::size_t found = 0;
    for (std::size_t i = 0; i < survey.count; ++i)
        if (survey.disks[i].table.by_guid(wanted) != nullptr) ++found, place.disk = i;
    if (found == 0) return "no disk has the partition that the profile names";
    return found == 1 ? TextView() : TextView("more than one disk has the partition that the profile names");
}

}  // namespace

bool is_own_copy(Bytes content) {
    if (content.size() > kLargestOwn || content.size() < kOwnMark.size()) return false;
    const TextView text = as_text(content);
    for (std::size_t at = 0; at + kOwnMark.size() <= text.size(); ++at)
        if (text.data()[at] == kOwnMark[0] && text.after(at).starts_with(kOwnMark)) return true;
    return false;
}

TextView not_vouched(Firmware& firmware, const FilePlace& place, SignedThing thing, Bytes content) {
    const Trust& trust = firmware.trust();
    if (!trust.wants_signatures()) return {};
    FilePlace beside = place;
    beside.path.add(image::signature_words::kFileSuffix);
    Bytes signature;
    if (beside.path.cut() || !read_boot_file(firmware, beside, FileUse::kSignature, signature).empty())
        signature = {};
    return fault_text(thing, check_file(trust, content, as_text(signature)));
}

TextView find_boot_partition(const Survey& survey, FilePlace& place) {
    const NodeProfile* profile = survey.profile();
    if (profile != nullptr && profile->boot.partition)
        return find_named(survey, *profile->boot.partition, place);
    std::size_t found = 0;
    for (std::size_t i = 0; i < survey.count; ++i) {
        if (survey.home && survey.home != i) continue;
        const Partition* partition = survey.disks[i].table.by_type(kEfiSystemType);
        if (partition == nullptr) continue;
        ++found;
        place.disk = i;
        place.partition = partition->guid;
    }
    if (found > 1) return "more than one disk has an EFI system partition, and no profile says which";
    if (found == 1) return {};
    return survey.home ? "its disk has no EFI system partition" : "no disk has an EFI system partition";
}

TextView find_loader(Firmware& firmware, const Survey& survey, FilePlace& place, Bytes& content) {
    if (const TextView reason = find_boot_partition(survey, place); !reason.empty()) return reason;
    const NodeProfile* profile = survey.profile();
    if (profile != nullptr && !profile->boot.loader.empty()) {
        const TextView reason = read_loader(firmware, place, profile->boot.loader, content);
        return reason.empty() ? not_allowed(firmware, place, content) : reason;
    }
    bool has_own = false;
    TextView fault;
    for (TextView path : kUsualPaths) {
        const TextView reason = read_loader(firmware, place, path, content);
        if (reason.empty()) return not_allowed(firmware, place, content);
        has_own = has_own || reason == kItself;
        if (fault.empty() && !(reason == kItself) && !(reason == kNotThere)) fault = reason;
    }
    // A damaged file system is not an empty one.
    if (!fault.empty()) return fault;
    return has_own ? "its EFI system partition has no loader but dupengine.efi itself"
                   : "its EFI system partition has no loader";
}

}  // namespace dupengine::efi
