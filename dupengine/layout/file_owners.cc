#include "layout/file_owners.h"

namespace dupengine::layout {
namespace {

FileOwners owners_by_type(const block::Reader& part, const std::string& type,
                          const block::ExtentSet& places) {
    if (type == "ext2" || type == "ext3" || type == "ext4") return ext_file_owners(part, places);
    if (type == "btrfs") return btrfs_file_owners(part, places);
    if (type == "exfat") return exfat_file_owners(part, places);
    if (type == "vfat") return fat_file_owners(part, places);
    if (type == "ntfs") return ntfs_file_owners(part, places);
    if (type == "xfs") return xfs_file_owners(part, places);
    FileOwners none;
    none.other_bytes = places.total_bytes();
    none.reason = fmt::format("files of {} are not looked up", type);
    return none;
}

}  // namespace

FileOwners find_file_owners(const block::Reader& part, const std::optional<Signature>& signature,
                            const block::ExtentSet& places) {
    FileOwners none;
    none.other_bytes = places.total_bytes();
    if (!signature) {
        none.reason = "no filesystem is recognised here";
        return none;
    }
    try {
        return owners_by_type(part, signature->type, places);
    } catch (const Error& e) {
        // Where names are wanted something is wrong already: it may be what the names are in.
        if (e.code() != Code::kIntegrity && e.code() != Code::kSourceIo) throw;
        none.reason = fmt::format("{}: {}", signature->type, e.what());
        return none;
    }
}

}  // namespace dupengine::layout
