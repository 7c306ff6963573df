#include "layout/used_extents.h"

#include <string_view>

#include "layout/plaintext.h"

namespace dupengine::layout {
namespace {

UsedExtents whole_because(std::string reason) {
    UsedExtents result;
    result.whole = true;
    result.reason = std::move(reason);
    return result;
}

UsedExtents read_by_type(const block::Reader& part, const std::string& type, PlaintextFinder* finder) {
    if (type == "btrfs") return btrfs_used_extents(part);
    if (type == "ext2" || type == "ext3" || type == "ext4" || type == "ext4dev")
        return ext_used_extents(part);
    if (type == "crypto_LUKS") return luks_used_extents(part, finder);
    if (type == "exfat") return exfat_used_extents(part);
    if (type == "f2fs") return f2fs_used_extents(part);
    if (type == "vfat" || type == "msdos") return fat_used_extents(part);
    if (type == "LVM2_member") {
        const block::Reader* one = &part;
        return std::move(lvm_used_extents({&one, 1}, Unreadable::kThrow, finder).front());
    }
    // What of it is used only the whole array knows, and a filesystem at its beginning is not all of it.
    if (type.ends_with("_raid_member")) {
        if (finder != nullptr) finder->pass_by(part.name(), "a member of a RAID");
        return whole_because("a member of a RAID");
    }
    if (type == "ntfs") return ntfs_used_extents(part);
    if (type == "swap" || type == "swsuspend") return swap_used_extents(part);  // swsuspend: hibernated on it
    if (type == "xfs") return xfs_used_extents(part);
    return whole_because(fmt::format("no reader for {}; copied whole", type));
}

}  // namespace

UsedExtents find_used_extents(const block::Reader& part, const std::optional<Signature>& signature,
                              PlaintextFinder* finder) {
    UsedExtents result;
    if (!signature) {
        result = whole_because("nothing recognised here");
    } else {
        try {
            result = read_by_type(part, signature->type, finder);
        } catch (const Error& e) {
            if (e.code() != Code::kIntegrity) throw;
            result = whole_because(fmt::format("{}: {}", signature->type, e.what()));
            if (finder != nullptr && signature->type == "crypto_LUKS")
                finder->pass_by(part.name(), result.reason);
        }
    }
    const block::Extent all{0, part.geometry().size_bytes};
    result.used = result.whole ? block::ExtentSet{all} : result.used.clipped_to(all);
    // What lies behind the filesystem's end is not its own to call free: a RAID superblock, a LUKS header
    // that was put there, data that somebody appended.
    if (!result.whole && result.filesystem_bytes != 0) result.used.insert({result.filesystem_bytes, all.end});
    return result;
}

}  // namespace dupengine::layout
