#include "profiles/system/linux_files.h"

#include "base/error.h"
#include "layout/xfs_super.h"
#include "profiles/system/disk_identifiers.h"
#include "profiles/system/ext_identity.h"

namespace dupengine::profiles {
namespace {

bool is_xfs(const layout::PartitionDescription& partition) {
    return partition.signature && partition.signature->type == "xfs";
}

}  // namespace

bool has_linux_files(const layout::PartitionDescription& partition) {
    return is_ext(partition) || is_xfs(partition);
}

Fd mount_linux_files(const layout::PartitionDescription& partition, const std::string& device, Access access,
                     const std::string& name) {
    return is_xfs(partition) ? mount_xfs(device, access, name) : mount_ext(device, access, name);
}

bool was_left_in_order(const layout::PartitionDescription& partition, const block::Reader& part) {
    if (!is_xfs(partition)) return read_ext_state(part).is_clean;
    const layout::XfsSuper super = layout::read_xfs_super(part);
    try {
        layout::check_xfs_log_is_clean(part, super);
        return true;
    } catch (const Error& e) {
        if (e.code() != Code::kIntegrity) throw;
        return false;
    }
}

}  // namespace dupengine::profiles
