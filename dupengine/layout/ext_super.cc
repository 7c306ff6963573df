#include "layout/ext_super.h"

#include <ext2fs/ext2fs.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstring>
#include <span>

namespace dupengine::layout {
namespace {

// What a feature means for "which blocks are in use". `obstacle` null: the bitmaps keep their meaning.
struct Feature {
    std::uint32_t bit;
    const char* name;
    const char* obstacle = nullptr;
};

constexpr std::array kIncompatible = {
    Feature{EXT2_FEATURE_INCOMPAT_COMPRESSION, "compression", "never part of the kernel"},
    Feature{EXT2_FEATURE_INCOMPAT_FILETYPE, "filetype"},
    Feature{EXT3_FEATURE_INCOMPAT_RECOVER, "needs_recovery"},  // the journal is read, see ext_journal.h
    Feature{EXT3_FEATURE_INCOMPAT_JOURNAL_DEV, "journal_dev", "all of it is another filesystem's journal"},
    Feature{EXT2_FEATURE_INCOMPAT_META_BG, "meta_bg"},
    Feature{EXT3_FEATURE_INCOMPAT_EXTENTS, "extent"},
    Feature{EXT4_FEATURE_INCOMPAT_64BIT, "64bit"},
    Feature{EXT4_FEATURE_INCOMPAT_MMP, "mmp"},
    Feature{EXT4_FEATURE_INCOMPAT_FLEX_BG, "flex_bg"},
    Feature{EXT4_FEATURE_INCOMPAT_EA_INODE, "ea_inode"},
    Feature{EXT4_FEATURE_INCOMPAT_DIRDATA, "dirdata", "only Lustre knows it"},
    Feature{EXT4_FEATURE_INCOMPAT_CSUM_SEED, "metadata_csum_seed"},
    Feature{EXT4_FEATURE_INCOMPAT_LARGEDIR, "large_dir"},
    Feature{EXT4_FEATURE_INCOMPAT_INLINE_DATA, "inline_data"},
    Feature{EXT4_FEATURE_INCOMPAT_ENCRYPT, "encrypt"},    // what files hold, not where
    Feature{EXT4_FEATURE_INCOMPAT_CASEFOLD, "casefold"},  // how names compare
};

constexpr std::array kReadOnlyCompatible = {
    Feature{EXT2_FEATURE_RO_COMPAT_SPARSE_SUPER, "sparse_super"},
    Feature{EXT2_FEATURE_RO_COMPAT_LARGE_FILE, "large_file"},
    Feature{EXT4_FEATURE_RO_COMPAT_HUGE_FILE, "huge_file"},
    Feature{EXT4_FEATURE_RO_COMPAT_GDT_CSUM, "uninit_bg"},
    Feature{EXT4_FEATURE_RO_COMPAT_DIR_NLINK, "dir_nlink"},
    Feature{EXT4_FEATURE_RO_COMPAT_EXTRA_ISIZE, "extra_isize"},
    Feature{EXT4_FEATURE_RO_COMPAT_HAS_SNAPSHOT, "snapshot", "snapshots have bitmaps of their own"},
    Feature{EXT4_FEATURE_RO_COMPAT_QUOTA, "quota"},
    Feature{EXT4_FEATURE_RO_COMPAT_BIGALLOC, "bigalloc"},
    Feature{EXT4_FEATURE_RO_COMPAT_METADATA_CSUM, "metadata_csum"},
    Feature{EXT4_FEATURE_RO_COMPAT_REPLICA, "replica", "never part of the kernel"},
    Feature{EXT4_FEATURE_RO_COMPAT_READONLY, "read-only"},
    Feature{EXT4_FEATURE_RO_COMPAT_PROJECT, "project"},
    Feature{EXT4_FEATURE_RO_COMPAT_SHARED_BLOCKS, "shared_blocks"},  // shared, and marked used
    Feature{EXT4_FEATURE_RO_COMPAT_VERITY, "verity"},
    Feature{EXT4_FEATURE_RO_COMPAT_ORPHAN_PRESENT,
            "orphan_present"},  // deleted but open files: still allocated
};

constexpr std::array kCompatible = {
    Feature{EXT2_FEATURE_COMPAT_DIR_PREALLOC, "dir_prealloc"},
    Feature{EXT2_FEATURE_COMPAT_IMAGIC_INODES, "imagic_inodes"},
    Feature{EXT3_FEATURE_COMPAT_HAS_JOURNAL, "has_journal"},
    Feature{EXT2_FEATURE_COMPAT_EXT_ATTR, "ext_attr"},
    Feature{EXT2_FEATURE_COMPAT_RESIZE_INODE, "resize_inode"},
    Feature{EXT2_FEATURE_COMPAT_DIR_INDEX, "dir_index"},
    Feature{EXT2_FEATURE_COMPAT_LAZY_BG, "lazy_bg", "its bitmaps may never have been written"},
    Feature{EXT2_FEATURE_COMPAT_EXCLUDE_BITMAP, "exclude_bitmap", "snapshots have bitmaps of their own"},
    Feature{EXT4_FEATURE_COMPAT_SPARSE_SUPER2, "sparse_super2"},
    Feature{EXT4_FEATURE_COMPAT_FAST_COMMIT, "fast_commit"},
    Feature{EXT4_FEATURE_COMPAT_STABLE_INODES, "stable_inodes"},
    Feature{EXT4_FEATURE_COMPAT_ORPHAN_FILE, "orphan_file"},
};

// Returns the bits that nobody here knows; throws for known ones that stand in the way.
std::uint32_t check_features(std::uint32_t bits, std::span<const Feature> known) {
    for (const Feature& feature : known) {
        if ((bits & feature.bit) == 0) continue;
        if (feature.obstacle != nullptr)
            throw_error(Code::kIntegrity, "feature {}: {}", feature.name, feature.obstacle);
        bits &= ~feature.bit;
    }
    return bits;
}

void refuse_unknown(std::uint32_t bits, const char* kind) {
    if (bits != 0) throw_error(Code::kIntegrity, "unknown {} feature {:#x}", kind, bits);
}

// A number on disk and the range in which it can be meant.
void check_range(std::uint64_t value, std::uint64_t least, std::uint64_t most, const char* what) {
    if (value < least || value > most)
        throw_error(Code::kIntegrity, "{} is {}, outside {} to {}", what, value, least, most);
}

ExtGeometry geometry_of(const ext2_super_block& super) {
    const bool wide = (super.s_feature_incompat & EXT4_FEATURE_INCOMPAT_64BIT) != 0;
    const bool bigalloc = (super.s_feature_ro_compat & EXT4_FEATURE_RO_COMPAT_BIGALLOC) != 0;
    const std::uint32_t log_cluster = bigalloc ? super.s_log_cluster_size : super.s_log_block_size;
    check_range(super.s_log_block_size, 0, EXT2_MAX_BLOCK_LOG_SIZE - EXT2_MIN_BLOCK_LOG_SIZE,
                "the log of the block size");
    check_range(log_cluster, super.s_log_block_size, EXT2_MAX_CLUSTER_LOG_SIZE - EXT2_MIN_CLUSTER_LOG_SIZE,
                "the log of the cluster size");
    ExtGeometry geometry;
    geometry.block_bytes = std::uint64_t{EXT2_MIN_BLOCK_SIZE} << super.s_log_block_size;
    geometry.cluster_blocks = std::uint64_t{1} << (log_cluster - super.s_log_block_size);
    geometry.blocks = super.s_blocks_count;
    if (wide) geometry.blocks |= std::uint64_t{super.s_blocks_count_hi} << 32;
    geometry.first_block = super.s_first_data_block;
    const std::uint64_t expected_first = geometry.block_bytes == kKiB && geometry.cluster_blocks == 1 ? 1 : 0;
    check_range(geometry.first_block, expected_first, expected_first, "the first data block");

    // One block holds the bitmap of a group (8 bits a byte), and mke2fs makes no groups of less than 256
    // blocks.
    const std::uint64_t bits = geometry.block_bytes * 8;
    geometry.clusters_per_group = bigalloc ? super.s_clusters_per_group : super.s_blocks_per_group;
    check_range(geometry.clusters_per_group, 8, bits, "the count of clusters per group");
    check_range(super.s_blocks_per_group, 256, bits * geometry.cluster_blocks,
                "the count of blocks per group");
    if (geometry.clusters_per_group % 8 != 0 || geometry.blocks_per_group() != super.s_blocks_per_group)
        throw_error(Code::kIntegrity, "{} clusters and {} blocks per group contradict each other",
                    geometry.clusters_per_group, super.s_blocks_per_group);
    check_range(super.s_inodes_per_group, 1, bits, "the count of inodes per group");
    const std::uint64_t inode_bytes = super.s_rev_level == EXT2_GOOD_OLD_REV ? 128 : super.s_inode_size;
    check_range(inode_bytes, 128, geometry.block_bytes, "the size of an inode");
    geometry.inodes_per_group = super.s_inodes_per_group;
    geometry.inode_table_blocks =
        (super.s_inodes_per_group * inode_bytes + geometry.block_bytes - 1) / geometry.block_bytes;
    geometry.descriptor_bytes = wide ? super.s_desc_size : EXT2_MIN_DESC_SIZE;
    check_range(geometry.descriptor_bytes, wide ? EXT2_MIN_DESC_SIZE_64BIT : EXT2_MIN_DESC_SIZE,
                std::min<std::uint64_t>(EXT2_MAX_DESC_SIZE, geometry.block_bytes),
                "the size of a group descriptor");
    return geometry;
}

// Where it ends, and that its group descriptors fit in memory.
void check_size(ExtGeometry& geometry, std::uint64_t part_bytes) {
    constexpr std::uint64_t kDescriptorLimit = 32 * kMiB;  // 64 TiB of 4 KiB blocks
    const std::uint64_t bytes = checked_mul(geometry.blocks, geometry.block_bytes, "the count of blocks");
    if (bytes > part_bytes)
        throw_error(Code::kIntegrity, "the filesystem covers {} bytes, the partition has {}", bytes,
                    part_bytes);
    if (geometry.blocks <= geometry.first_block) throw_error(Code::kIntegrity, "{} blocks", geometry.blocks);
    const std::uint64_t in_groups = geometry.blocks - geometry.first_block;
    geometry.groups = (in_groups + geometry.blocks_per_group() - 1) / geometry.blocks_per_group();
    if (geometry.groups * geometry.descriptor_bytes > kDescriptorLimit)
        throw_error(Code::kIntegrity, "{} groups: more descriptors than the {} MiB set aside for them",
                    geometry.groups, kDescriptorLimit / kMiB);
}

}  // namespace

ExtSuper read_ext_super(const block::Reader& part) {
    if (part.geometry().size_bytes < SUPERBLOCK_OFFSET + SUPERBLOCK_SIZE)
        throw_error(Code::kIntegrity, "too small for a superblock");
    const Bytes bytes = block::read_extent(part, {SUPERBLOCK_OFFSET, SUPERBLOCK_OFFSET + SUPERBLOCK_SIZE});
    ext2_super_block super;
    static_assert(sizeof super == SUPERBLOCK_SIZE && std::endian::native == std::endian::little);
    std::memcpy(&super, bytes.data(), sizeof super);
    if (super.s_magic != EXT2_SUPER_MAGIC) throw_error(Code::kIntegrity, "no superblock");
    if (super.s_rev_level > EXT2_DYNAMIC_REV)
        throw_error(Code::kIntegrity, "revision {} is not known", super.s_rev_level);
    refuse_unknown(check_features(super.s_feature_incompat, kIncompatible), "incompatible");
    refuse_unknown(check_features(super.s_feature_ro_compat, kReadOnlyCompatible), "read-only-compatible");

    ExtSuper result;
    // An unknown compatible feature may be ignored by readers and writers, so the bitmaps stay true.
    result.unknown_compat = check_features(super.s_feature_compat, kCompatible) != 0;
    result.geometry = geometry_of(super);
    check_size(result.geometry, part.geometry().size_bytes);
    result.free_blocks = super.s_free_blocks_count;
    if ((super.s_feature_incompat & EXT4_FEATURE_INCOMPAT_64BIT) != 0)
        result.free_blocks |= std::uint64_t{super.s_free_blocks_hi} << 32;
    result.free_inodes = super.s_free_inodes_count;
    result.needs_recovery = (super.s_feature_incompat & EXT3_FEATURE_INCOMPAT_RECOVER) != 0;
    result.has_errors = (super.s_state & EXT2_ERROR_FS) != 0;
    result.cleanly_unmounted = (super.s_state & EXT2_VALID_FS) != 0;
    const bool has_journal = (super.s_feature_compat & EXT3_FEATURE_COMPAT_HAS_JOURNAL) != 0;
    result.journal_inode = has_journal ? super.s_journal_inum : 0;
    result.external_journal = has_journal && super.s_journal_inum == 0;
    if ((super.s_feature_incompat & EXT4_FEATURE_INCOMPAT_MMP) != 0) result.mmp_block = super.s_mmp_block;
    return result;
}

void renew_ext_checksum(std::span<std::byte> superblock) {
    constexpr std::size_t kAt = offsetof(ext2_super_block, s_checksum);
    const auto features = load_le<std::uint32_t>(superblock, offsetof(ext2_super_block, s_feature_ro_compat));
    if ((features & EXT4_FEATURE_RO_COMPAT_METADATA_CSUM) == 0) return;
    store_le<std::uint32_t>(
        superblock, kAt,
        ext2fs_crc32c_le(~0u, reinterpret_cast<const unsigned char*>(superblock.data()), kAt));
}

}  // namespace dupengine::layout
