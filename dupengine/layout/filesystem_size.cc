#include "layout/filesystem_size.h"

#include "layout/ext_super.h"
#include "layout/f2fs_checkpoint.h"
#include "layout/ntfs_volume.h"
#include "layout/xfs_super.h"

namespace dupengine::layout {

FilesystemSize read_filesystem_size(const block::Reader& part, std::string_view type) {
    if (type == "ext2" || type == "ext3" || type == "ext4") {
        // A last group that its own metadata would fill is left out.
        const ExtGeometry geometry = read_ext_super(part).geometry;
        return {geometry.blocks * geometry.block_bytes, geometry.blocks_per_group() * geometry.block_bytes};
    }
    if (type == "f2fs") {
        const F2fsSuper super = read_f2fs_super(part);
        return {super.blocks * kF2fsBlock, super.zone_blocks * kF2fsBlock};
    }
    if (type == "ntfs") {
        // Whole clusters, and the copy of the boot sector behind them.
        const NtfsVolume volume = read_ntfs_boot_sector(part);
        return {volume.copy_at() + volume.sector_bytes, volume.cluster_bytes + volume.sector_bytes};
    }
    if (type == "xfs") {
        constexpr std::uint64_t kLeastGroup = 64;  // blocks (XFS_MIN_AG_BLOCKS)
        const XfsSuper super = read_xfs_super(part);
        return {super.blocks * super.block_bytes, kLeastGroup * super.block_bytes};
    }
    throw_error(Code::kInternal, "the size of {} is not known", type);
}

}  // namespace dupengine::layout
