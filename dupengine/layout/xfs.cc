// XFS of versions 4 and 5 ("XFS Algorithms & Data Structures", 3rd edition). Each allocation group has a
// B+tree of its free runs, ordered by block (the bnobt); used is everything else, so the headers, the trees
// themselves, the blocks set aside for them (AGFL) and the log come along. The runs must ascend, lie in the
// group, and add up to what the group's header (AGF) and the superblock count.
//
// All that is the truth only when the log holds nothing that is still to be played (xfs_super.h); otherwise
// the whole part is copied, and the target's kernel recovers it.

#include <algorithm>

#include "layout/extent_collector.h"
#include "layout/used_extents.h"
#include "layout/xfs_super.h"

namespace dupengine::layout {
namespace {

constexpr std::uint32_t kNoBlock = 0xFFFFFFFF;
constexpr unsigned kLevelLimit = 9;  // as in the kernel (XFS_BTREE_MAXLEVELS)

struct GroupHeader {
    std::uint32_t root = 0, levels = 0;
    std::uint32_t free_list_blocks = 0, free_blocks = 0, longest = 0, tree_blocks = 0;
};

// The four header sectors; of AGI and AGFL only that they are what they should be.
GroupHeader read_header(const block::Reader& part, const XfsSuper& super, std::uint64_t group) {
    const ByteOffset at = group * super.group_blocks * super.block_bytes;
    const Bytes sectors = block::read_extent(part, {at, at + 4 * super.sector_bytes});
    const auto sector = [&](std::size_t i) {
        return std::span(sectors).subspan(i * super.sector_bytes, super.sector_bytes);
    };
    const auto agf = sector(1), agi = sector(2), agfl = sector(3);
    const auto field = [&](std::size_t offset) { return load_be<std::uint32_t>(agf, offset); };
    if (field(0) != 0x58414746 || field(4) != 1) throw_error(Code::kIntegrity, "no AGF");
    if (load_be<std::uint32_t>(agi, 0) != 0x58414749) throw_error(Code::kIntegrity, "no AGI");
    if (super.checksums) {
        if (load_be<std::uint32_t>(agfl, 0) != 0x5841464C) throw_error(Code::kIntegrity, "no AGFL");
        check_xfs_checksum(agf, 216, "its AGF");
        check_xfs_checksum(agi, 312, "its AGI");
        check_xfs_checksum(agfl, 32, "its AGFL");
        if (!std::equal(super.uuid.begin(), super.uuid.end(), agf.begin() + 64))
            throw_error(Code::kIntegrity, "its AGF is of another filesystem");
    }
    if (field(8) != group) throw_error(Code::kIntegrity, "its AGF is that of group {}", field(8));
    if (field(12) != super.blocks_in(group))
        throw_error(Code::kIntegrity, "its AGF counts {} blocks, not {}", field(12), super.blocks_in(group));
    return {field(16), field(28), field(48), field(52), field(56), field(60)};
}

// One group's tree of free runs, from left to right. Every record lies behind the one before it and no block
// is empty, so a tree that bites its own tail is noticed at once.
class FreeTree {
  public:
    FreeTree(const block::Reader& part, const XfsSuper& super, std::uint64_t group)
        : part_(part),
          super_(super),
          group_(group),
          blocks_(super.blocks_in(group)),
          header_bytes_(super.checksums ? 56 : 16) {}

    /// Calls `on_free(begin, end)` in blocks of the group, ascending.
    template <typename OnFree>
    void walk(const GroupHeader& header, OnFree&& on_free) {
        if (header.levels == 0 || header.levels > kLevelLimit)
            throw_error(Code::kIntegrity, "its tree of free space has {} levels", header.levels);
        visit(header.root, header.levels - 1, header.levels == 1, on_free);
        for (const Place& place : places_)
            if (place.right != kNoBlock)
                throw_error(Code::kIntegrity, "the last block of a tree level says that {} follows",
                            place.right);
        if (free_ != header.free_blocks || longest_ != header.longest)
            throw_error(Code::kIntegrity,
                        "its tree has {} free blocks, {} of them in one run; its AGF says {} and {}", free_,
                        longest_, header.free_blocks, header.longest);
    }

  private:
    struct Place {  // the last block seen of a level, and what it says comes next
        std::uint32_t block = kNoBlock, right = kNoBlock;
        bool first = true;
    };

    Bytes read_block(std::uint32_t number) const {
        if (number < super_.header_blocks() || number >= blocks_)
            throw_error(Code::kIntegrity, "its tree of free space points to block {} of {}", number, blocks_);
        const ByteOffset at = (group_ * super_.group_blocks + number) * super_.block_bytes;
        Bytes block = block::read_extent(part_, {at, at + super_.block_bytes});
        const std::uint32_t magic = super_.checksums ? 0x41423342 : 0x41425442;  // "AB3B", "ABTB"
        if (load_be<std::uint32_t>(block, 0) != magic)
            throw_error(Code::kIntegrity, "block {} is no tree block of free space", number);
        if (!super_.checksums) return block;
        check_xfs_checksum(block, 52, "a tree block");
        if (load_be<std::uint64_t>(block, 16) != at / 512 || load_be<std::uint32_t>(block, 48) != group_ ||
            !std::equal(super_.uuid.begin(), super_.uuid.end(), block.begin() + 32))
            throw_error(Code::kIntegrity, "tree block {} belongs somewhere else", number);
        return block;
    }

    void check_place(std::uint32_t number, unsigned level, std::span<const std::byte> block) {
        Place& place = places_[level];
        const auto left = load_be<std::uint32_t>(block, 8), right = load_be<std::uint32_t>(block, 12);
        if (left != place.block || (!place.first && place.right != number))
            throw_error(Code::kIntegrity, "tree block {} and its neighbours contradict each other", number);
        place = {number, right, false};
    }

    template <typename OnFree>
    void visit(std::uint32_t number, unsigned level, bool is_lonely_leaf, OnFree&& on_free) {
        const Bytes block = read_block(number);
        const std::size_t count = load_be<std::uint16_t>(block, 6);
        if (load_be<std::uint16_t>(block, 4) != level)
            throw_error(Code::kIntegrity, "tree block {} is of level {}, not {}", number,
                        load_be<std::uint16_t>(block, 4), level);
        // A record is a first block and a count; a node has such keys and then, for each, a pointer.
        const std::size_t room = (super_.block_bytes - header_bytes_) / (level == 0 ? 8 : 12);
        if (count > room || (count == 0 && !is_lonely_leaf))
            throw_error(Code::kIntegrity, "tree block {} has {} entries, {} fit", number, count, room);
        check_place(number, level, block);
        for (std::size_t i = 0; i < count; ++i) {
            if (level != 0) {
                const auto child = load_be<std::uint32_t>(block, header_bytes_ + room * 8 + i * 4);
                visit(child, level - 1, false, on_free);
                continue;
            }
            take(load_be<std::uint32_t>(block, header_bytes_ + i * 8),
                 load_be<std::uint32_t>(block, header_bytes_ + i * 8 + 4), on_free);
        }
    }

    template <typename OnFree>
    void take(std::uint64_t begin, std::uint64_t count, OnFree&& on_free) {
        if (begin < super_.header_blocks() || count == 0 || begin + count > blocks_ ||
            (free_ != 0 && begin < end_))
            throw_error(Code::kIntegrity, "{} free blocks from block {} of {}, after a run that ends at {}",
                        count, begin, blocks_, end_);
        end_ = begin + count;
        free_ += count;
        longest_ = std::max(longest_, count);
        on_free(begin, end_);
    }

    const block::Reader& part_;
    const XfsSuper& super_;
    std::uint64_t group_, blocks_;
    std::size_t header_bytes_;
    std::array<Place, kLevelLimit> places_;
    std::uint64_t end_ = 0, free_ = 0, longest_ = 0;
};

class Scan {
  public:
    Scan(const block::Reader& part, const XfsSuper& super) : part_(part), super_(super) {}

    block::ExtentSet run() {
        for (std::uint64_t group = 0; group < super_.groups; ++group) {
            try {
                take_group(group);
            } catch (Error& e) {
                e.add_context(fmt::format("group {}", group));
                throw;
            }
        }
        add_until(super_.blocks, super_.blocks);
        if (super_.lazy_counts && counted_ != super_.free_blocks)
            throw_error(Code::kIntegrity, "the superblock counts {} free blocks, the groups {}",
                        super_.free_blocks, counted_);
        return collected_.take();
    }

  private:
    void take_group(std::uint64_t group) {
        const GroupHeader header = read_header(part_, super_, group);
        const std::uint64_t base = group * super_.group_blocks;
        FreeTree(part_, super_, group).walk(header, [&](std::uint64_t begin, std::uint64_t end) {
            const block::Extent free{(base + begin) * super_.block_bytes, (base + end) * super_.block_bytes};
            if (free.touches(super_.log)) throw_error(Code::kIntegrity, "its log would be free");
            add_until(base + begin, base + end);
        });
        counted_ += std::uint64_t{header.free_blocks} + header.free_list_blocks + header.tree_blocks;
    }

    // Used up to `free_begin`; what comes next begins at `free_end`.
    void add_until(std::uint64_t free_begin, std::uint64_t free_end) {
        collected_.add({used_from_ * super_.block_bytes, free_begin * super_.block_bytes});
        used_from_ = free_end;
    }

    const block::Reader& part_;
    const XfsSuper& super_;
    ExtentCollector collected_;
    std::uint64_t used_from_ = 0, counted_ = 0;
};

}  // namespace

UsedExtents xfs_used_extents(const block::Reader& part) {
    const XfsSuper super = read_xfs_super(part);
    check_xfs_log_is_clean(part, super);
    UsedExtents result;
    result.block_bytes = super.block_bytes;
    result.filesystem_bytes = super.blocks * super.block_bytes;
    result.used = Scan(part, super).run();
    return result;
}

}  // namespace dupengine::layout
