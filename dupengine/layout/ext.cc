// ext2, ext3 and ext4: the block bitmaps of all groups, with libext2fs for the superblock, descriptors and
// checksums. The bitmaps are read here and not by ext2fs_read_block_bitmap, which takes a group whose
// descriptor points outside the filesystem for empty, prints, and holds the bitmaps of all groups in memory.
//
// When are the bitmaps the truth? After a clean unmount. With an unplayed journal: once the journal is taken
// into account (ext_journal.h), because the target will play it when it mounts. After a crash without a
// journal, or when the kernel marked errors: never; then the whole part is copied, and e2fsck on the target
// finds all that it would have found on the source.

#include <algorithm>
#include <tuple>
#include <vector>

#include "layout/ext_bitmaps.h"
#include "layout/ext_blank_inodes.h"
#include "layout/ext_filesystem.h"
#include "layout/ext_journal.h"
#include "layout/ext_super.h"
#include "layout/extent_collector.h"
#include "layout/used_extents.h"

namespace dupengine::layout {
namespace {

bool bitmap_is_unwritten(const ExtFilesystem& filesystem, std::uint64_t group) {
    return ext2fs_has_group_desc_csum(filesystem.get()) != 0 &&
           ext2fs_bg_flags_test(filesystem.get(), static_cast<dgrp_t>(group), EXT2_BG_BLOCK_UNINIT) != 0;
}

// The bitmap block of every group, 0 where there is nothing to read. With flex_bg neighbours lie side by
// side.
std::vector<std::uint64_t> bitmap_blocks(const ExtFilesystem& filesystem, const ExtGeometry& geometry) {
    std::vector<std::uint64_t> blocks(geometry.groups);
    for (std::uint64_t group = 0; group < geometry.groups; ++group) {
        const std::uint64_t block = ext2fs_block_bitmap_loc(filesystem.get(), static_cast<dgrp_t>(group));
        if (block <= geometry.first_block || block >= geometry.blocks)
            throw_error(Code::kIntegrity, "group {}: its bitmap would be block {} of {}", group, block,
                        geometry.blocks);
        blocks[group] = bitmap_is_unwritten(filesystem, group) ? 0 : block;
    }
    return blocks;
}

bool begins_before(const block::Extent& a, const block::Extent& b) {
    return a.begin < b.begin;
}

class Scan {
  public:
    enum class Counts { kMustAgree, kMayLag };

    Scan(const block::Reader& part, const ExtSuper& super, const ExtFilesystem& filesystem)
        : part_(part), super_(super), geometry_(super.geometry), filesystem_(filesystem) {}

    /// Further versions of bitmaps whose ones count too: they may be what recovery ends with.
    void also(const block::Reader& before, std::vector<std::uint64_t> blocks_before,
              std::vector<JournalCopy> copies) {
        before_ = &before;
        blocks_before_ = std::move(blocks_before);
        copies_ = std::move(copies);
        std::stable_sort(copies_.begin(), copies_.end(),
                         [](const JournalCopy& a, const JournalCopy& b) { return a.block < b.block; });
    }

    /// What is in use, and what is blank (UsedExtents).
    std::pair<block::ExtentSet, block::ExtentSet> run(Counts counts) {
        const std::vector<std::uint64_t> blocks = bitmap_blocks(filesystem_, geometry_);
        BitmapReader bitmaps(part_, geometry_, blocks);
        BlankInodes blank_inodes(part_, geometry_, filesystem_);
        std::uint64_t free_clusters = 0, free_inodes = 0;
        for (std::uint64_t group = 0; group < geometry_.groups; ++group) {
            if (!ext2fs_group_desc_csum_verify(filesystem_.get(), static_cast<dgrp_t>(group)))
                throw_error(Code::kIntegrity, "group {}: its descriptor does not match its checksum", group);
            free_clusters += ext2fs_bg_free_blocks_count(filesystem_.get(), static_cast<dgrp_t>(group));
            free_inodes += ext2fs_bg_free_inodes_count(filesystem_.get(), static_cast<dgrp_t>(group));
            add_metadata(group);
            if (before_ == nullptr) add_blank(blank_inodes.find(group));
            const std::span<std::byte> bitmap = bitmaps.read(group);
            if (bitmap.empty()) continue;  // all of it free, but for the metadata
            check_bitmap(group, bitmap, counts);
            join_versions(group, blocks[group], bitmap);
            add_runs(group, bitmap);
        }
        if (counts == Counts::kMustAgree && free_clusters * geometry_.cluster_blocks != super_.free_blocks)
            throw_error(Code::kIntegrity, "the superblock counts {} free blocks, the groups {}",
                        super_.free_blocks, free_clusters * geometry_.cluster_blocks);
        if (!blank_.empty() && free_inodes != super_.free_inodes)
            throw_error(Code::kIntegrity, "the superblock counts {} free inodes, the groups {}",
                        super_.free_inodes, free_inodes);
        const bool doubtful = join_metadata();
        check_unwritten(blocks);
        block::ExtentSet used = merged(), blank;
        if (!doubtful) blank = merged_blank();
        used.erase(blank);
        return {std::move(used), std::move(blank)};
    }

  private:
    std::uint64_t clusters_in(std::uint64_t group) const {
        const std::uint64_t left = geometry_.blocks - geometry_.group_begin(group);
        const std::uint64_t ratio = geometry_.cluster_blocks;
        return std::min(geometry_.clusters_per_group, (left + ratio - 1) / ratio);
    }

    block::Extent bytes_of(std::uint64_t block, std::uint64_t count) const {
        return {block * geometry_.block_bytes, (block + count) * geometry_.block_bytes};
    }

    void add_piece(std::uint64_t group, std::uint64_t block, std::uint64_t count, const char* what) {
        if (block >= geometry_.blocks || count > geometry_.blocks - block)
            throw_error(Code::kIntegrity, "group {}: its {} would be blocks {} to {} of {}", group, what,
                        block, block + count, geometry_.blocks);
        const block::Extent piece = bytes_of(block, count);
        if (!metadata_.empty() && metadata_.back().end == piece.begin)
            metadata_.back().end = piece.end;
        else
            metadata_.push_back(piece);
    }

    // What a group needs even if its bitmap does not say so (it may be unwritten, or call it free by
    // mistake).
    void add_metadata(std::uint64_t group) {
        ext2_filsys fs = filesystem_.get();
        const auto number = static_cast<dgrp_t>(group);
        blk64_t super = 0, old_descriptors = 0, new_descriptors = 0;
        ext2fs_super_and_bgd_loc2(fs, number, &super, &old_descriptors, &new_descriptors, nullptr);
        if (super != 0 || group == 0) add_piece(group, super, 1, "superblock");
        if (old_descriptors != 0) {
            const bool meta = ext2fs_has_feature_meta_bg(fs->super) != 0;
            const std::uint64_t count =
                meta ? fs->super->s_first_meta_bg : fs->desc_blocks + fs->super->s_reserved_gdt_blocks;
            add_piece(group, old_descriptors, count, "descriptors");
        }
        if (new_descriptors != 0) add_piece(group, new_descriptors, 1, "descriptors");
        add_piece(group, ext2fs_block_bitmap_loc(fs, number), 1, "block bitmap");
        add_piece(group, ext2fs_inode_bitmap_loc(fs, number), 1, "inode bitmap");
        add_piece(group, ext2fs_inode_table_loc(fs, number), geometry_.inode_table_blocks, "inode table");
    }

    void add_blank(block::Extent blank) {
        if (!blank.empty()) blank_.push_back(blank);
    }

    void check_bitmap(std::uint64_t group, std::span<std::byte> bitmap, Counts counts) const {
        const auto number = static_cast<dgrp_t>(group);
        if (!ext2fs_block_bitmap_csum_verify(filesystem_.get(), number,
                                             reinterpret_cast<char*>(bitmap.data()),
                                             static_cast<int>(geometry_.clusters_per_group / 8)))
            throw_error(Code::kIntegrity, "group {}: its bitmap does not match its checksum", group);
        if (counts == Counts::kMayLag) return;
        const std::uint64_t free = clusters_in(group) - count_ones(bitmap, clusters_in(group));
        const std::uint64_t said = ext2fs_bg_free_blocks_count(filesystem_.get(), number);
        if (free != said)
            throw_error(Code::kIntegrity, "group {}: its bitmap has {} free clusters, its descriptor says {}",
                        group, free, said);
    }

    // A group whose bitmap was never written has all clusters free but those of metadata, which are joined.
    void check_unwritten(const std::vector<std::uint64_t>& blocks) const {
        for (std::uint64_t group = 0; group < geometry_.groups; ++group) {
            if (blocks[group] != 0) continue;
            const std::uint64_t free = clusters_in(group) - metadata_clusters(group);
            const std::uint64_t said =
                ext2fs_bg_free_blocks_count(filesystem_.get(), static_cast<dgrp_t>(group));
            if (free != said)
                throw_error(Code::kIntegrity,
                            "group {}: its bitmap was never written, so {} clusters are free, but its "
                            "descriptor says {}",
                            group, free, said);
        }
    }

    // How many clusters of a group hold metadata, of whichever group.
    std::uint64_t metadata_clusters(std::uint64_t group) const {
        const std::uint64_t begin = geometry_.group_begin(group);
        const std::uint64_t end = std::min(begin + geometry_.blocks_per_group(), geometry_.blocks);
        const block::Extent all = bytes_of(begin, end - begin);
        const std::uint64_t cluster_bytes = geometry_.cluster_blocks * geometry_.block_bytes;
        auto piece = std::partition_point(metadata_.begin(), metadata_.end(),
                                          [&](const block::Extent& e) { return e.end <= all.begin; });
        std::uint64_t clusters = 0, counted = 0;  // up to which cluster
        for (; piece != metadata_.end() && piece->begin < all.end; ++piece) {
            const std::uint64_t from = (std::max(piece->begin, all.begin) - all.begin) / cluster_bytes;
            const std::uint64_t to =
                (std::min(piece->end, all.end) - all.begin + cluster_bytes - 1) / cluster_bytes;
            if (to > counted) clusters += to - std::max(from, counted);
            counted = std::max(counted, to);
        }
        return clusters;
    }

    void join(std::span<std::byte> bitmap, std::span<const std::byte> other) const {
        for (std::size_t i = 0; i < bitmap.size(); ++i)
            bitmap[i] |= other[i];
    }

    void join_versions(std::uint64_t group, std::uint64_t block, std::span<std::byte> bitmap) const {
        if (before_ == nullptr) return;
        if (blocks_before_[group] == block) {
            const block::Extent place = bytes_of(block, 1);
            join(bitmap, block::read_extent(*before_, place));
        }
        auto copy =
            std::lower_bound(copies_.begin(), copies_.end(), block,
                             [](const JournalCopy& c, std::uint64_t value) { return c.block < value; });
        for (; copy != copies_.end() && copy->block == block; ++copy)
            join(bitmap, read_journal_copy(*before_, geometry_.block_bytes, *copy));
    }

    void add_runs(std::uint64_t group, std::span<const std::byte> bitmap) {
        const std::uint64_t base = geometry_.group_begin(group), ratio = geometry_.cluster_blocks;
        for_each_run(bitmap, clusters_in(group), [&](std::uint64_t begin, std::uint64_t end) {
            const std::uint64_t from = base + begin * ratio;
            const std::uint64_t to = std::min(base + end * ratio, geometry_.blocks);
            runs_.add(bytes_of(from, to - from));
        });
    }

    block::ExtentSet merged() {
        // The first 2 KiB: boot code, and the superblock wherever the first block ends.
        metadata_.push_back({0, std::max<std::uint64_t>(geometry_.block_bytes, 2 * kKiB)});
        if (super_.mmp_block != 0) add_piece(0, super_.mmp_block, 1, "multi-mount protection block");
        std::sort(metadata_.begin(), metadata_.end(), begins_before);
        const block::ExtentSet runs = runs_.take();
        ExtentCollector all;
        auto piece = metadata_.begin();
        for (const block::Extent& run : runs) {
            for (; piece != metadata_.end() && piece->begin < run.begin; ++piece)
                all.add(*piece);
            all.add(run);
        }
        for (; piece != metadata_.end(); ++piece)
            all.add(*piece);
        return all.take();
    }

    // Sorts them. Whether some lie over each other: then what one calls blank may be another one's content.
    bool join_metadata() {
        std::sort(metadata_.begin(), metadata_.end(), begins_before);
        std::vector<block::Extent> apart;
        bool overlap = false;
        for (const block::Extent& piece : metadata_) {
            const bool over = !apart.empty() && piece.begin < apart.back().end;
            overlap = overlap || over;
            if (over)
                apart.back().end = std::max(apart.back().end, piece.end);
            else
                apart.push_back(piece);
        }
        metadata_ = std::move(apart);
        return overlap;
    }

    block::ExtentSet merged_blank() {
        std::sort(blank_.begin(), blank_.end(), begins_before);
        block::ExtentSet blank;
        for (const block::Extent& piece : blank_)
            blank.insert(piece);
        return blank;
    }

    const block::Reader& part_;
    const ExtSuper& super_;
    const ExtGeometry& geometry_;
    const ExtFilesystem& filesystem_;
    const block::Reader* before_ = nullptr;
    std::vector<std::uint64_t> blocks_before_;
    std::vector<JournalCopy> copies_;
    ExtentCollector runs_;
    std::vector<block::Extent> metadata_, blank_;
};

// The blocks whose journaled versions decide what is used: superblock, descriptors, bitmaps.
std::vector<std::uint64_t> blocks_that_decide(const ExtFilesystem& filesystem, const ExtGeometry& geometry) {
    ext2_filsys fs = filesystem.get();
    std::vector<std::uint64_t> blocks = {SUPERBLOCK_OFFSET / geometry.block_bytes};
    for (dgrp_t i = 0; i < fs->desc_blocks; ++i)
        blocks.push_back(ext2fs_descriptor_block_loc2(fs, fs->super->s_first_data_block, i));
    for (std::uint64_t group = 0; group < geometry.groups; ++group)
        blocks.push_back(ext2fs_block_bitmap_loc(fs, static_cast<dgrp_t>(group)));
    std::sort(blocks.begin(), blocks.end());
    return blocks;
}

block::ExtentSet used_after_recovery(const block::Reader& part, const ExtSuper& super) {
    const ExtFilesystem before(part);
    const std::vector<JournalCopy> copies =
        read_journal(part, super, before, blocks_that_decide(before, super.geometry));
    const ReplayedReader replayed(part, super.geometry.block_bytes, copies);
    const ExtSuper super_after = read_ext_super(replayed);
    if (super_after.geometry != super.geometry)
        throw_error(Code::kIntegrity, "it was being resized, and its journal was not played");
    if (super_after.has_errors) throw_error(Code::kIntegrity, "its journal records errors");
    const ExtFilesystem after(replayed);
    Scan scan(replayed, super, after);
    scan.also(part, bitmap_blocks(before, super.geometry), copies);
    return scan.run(Scan::Counts::kMayLag).first;
}

}  // namespace

UsedExtents ext_used_extents(const block::Reader& part) {
    const ExtSuper super = read_ext_super(part);
    if (super.has_errors) throw_error(Code::kIntegrity, "it is marked as having errors");
    if (!super.cleanly_unmounted && !super.needs_recovery)
        throw_error(Code::kIntegrity,
                    "not unmounted cleanly, and without a journal that would tell what is in use");
    UsedExtents result;
    result.block_bytes = super.geometry.block_bytes;
    result.filesystem_bytes = super.geometry.blocks * super.geometry.block_bytes;
    if (super.needs_recovery) {
        result.used = used_after_recovery(part, super);
        result.note = "needs journal recovery; copied as it is";
    } else {
        const ExtFilesystem filesystem(part);
        std::tie(result.used, result.blank) = Scan(part, super, filesystem).run(Scan::Counts::kMustAgree);
        if (super.external_journal)
            result.note = "its journal is on another device, which is not copied with it";
    }
    return result;
}

}  // namespace dupengine::layout
