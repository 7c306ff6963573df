#include "layout/ext_blank_inodes.h"

namespace dupengine::layout {

BlankInodes::BlankInodes(const block::Reader& part, const ExtGeometry& geometry,
                         const ExtFilesystem& filesystem)
    : geometry_(geometry), filesystem_(filesystem), bitmaps_(part, geometry, bitmap_blocks()) {}

bool BlankInodes::none_used(std::uint64_t group) const {
    return ext2fs_bg_flags_test(filesystem_.get(), static_cast<dgrp_t>(group), EXT2_BG_INODE_UNINIT) != 0;
}

// How many inodes at the end of the table the descriptor calls blank.
std::uint64_t BlankInodes::unused(std::uint64_t group) const {
    // Without their checksums descriptors have neither the flag nor the count.
    if (ext2fs_has_group_desc_csum(filesystem_.get()) == 0) return 0;
    if (none_used(group)) return geometry_.inodes_per_group;
    return ext2fs_bg_itable_unused(filesystem_.get(), static_cast<dgrp_t>(group));
}

// 0 where the bitmap is not needed. The bitmap of a group without any inode may never have been written: most
// of a large filesystem that is new.
std::vector<std::uint64_t> BlankInodes::bitmap_blocks() const {
    std::vector<std::uint64_t> blocks(geometry_.groups);
    for (std::uint64_t group = 0; group < geometry_.groups; ++group) {
        if (unused(group) == 0 || none_used(group)) continue;
        blocks[group] = ext2fs_inode_bitmap_loc(filesystem_.get(), static_cast<dgrp_t>(group));
        if (blocks[group] <= geometry_.first_block || blocks[group] >= geometry_.blocks)
            throw_error(Code::kIntegrity, "group {}: its inode bitmap would be block {} of {}", group,
                        blocks[group], geometry_.blocks);
    }
    return blocks;
}

void BlankInodes::check_bitmap(std::uint64_t group, std::span<std::byte> bitmap, std::uint64_t unused) const {
    const auto number = static_cast<dgrp_t>(group);
    const std::uint64_t inodes = geometry_.inodes_per_group;
    if (!ext2fs_inode_bitmap_csum_verify(filesystem_.get(), number, reinterpret_cast<char*>(bitmap.data()),
                                         static_cast<int>(inodes / 8)))
        throw_error(Code::kIntegrity, "group {}: its inode bitmap does not match its checksum", group);
    const std::uint64_t used = count_ones(bitmap, inodes);
    const std::uint64_t said = ext2fs_bg_free_inodes_count(filesystem_.get(), number);
    if (inodes - used != said)
        throw_error(Code::kIntegrity, "group {}: its bitmap has {} free inodes, its descriptor says {}",
                    group, inodes - used, said);
    if (count_ones(bitmap, inodes - unused) != used)
        throw_error(Code::kIntegrity, "group {}: inodes are in use where its descriptor says there are none",
                    group);
}

block::Extent BlankInodes::find(std::uint64_t group) {
    const std::uint64_t inodes = geometry_.inodes_per_group, unused = this->unused(group);
    const auto number = static_cast<dgrp_t>(group);
    if (unused == 0) return {};
    if (unused > inodes)
        throw_error(Code::kIntegrity, "group {}: {} of its {} inodes would be unused", group, unused, inodes);
    if (!none_used(group))
        check_bitmap(group, bitmaps_.read(group), unused);
    else if (ext2fs_bg_free_inodes_count(filesystem_.get(), number) != inodes ||
             ext2fs_bg_used_dirs_count(filesystem_.get(), number) != 0)
        throw_error(Code::kIntegrity,
                    "group {}: its descriptor says both that inodes are used and that none are", group);
    const std::uint64_t used_bytes = (inodes - unused) * EXT2_INODE_SIZE(filesystem_.get()->super);
    const std::uint64_t begin = ext2fs_inode_table_loc(filesystem_.get(), number);
    const std::uint64_t used_blocks = (used_bytes + geometry_.block_bytes - 1) / geometry_.block_bytes;
    return {(begin + used_blocks) * geometry_.block_bytes,
            (begin + geometry_.inode_table_blocks) * geometry_.block_bytes};
}

}  // namespace dupengine::layout
