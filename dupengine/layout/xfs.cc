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
#include "layout/xfs_tree.h"

namespace dupengine::layout {
namespace {

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

// One group's runs of free blocks, in blocks of the group. Every one lies behind the one before it.
class FreeRuns {
  public:
    explicit FreeRuns(const XfsSuper& super, std::uint64_t group)
        : first_block_(super.header_blocks()), blocks_(super.blocks_in(group)) {}

    block::Extent take(std::span<const std::byte> record) {
        const std::uint64_t begin = load_be<std::uint32_t>(record, 0),
                            count = load_be<std::uint32_t>(record, 4);
        if (begin < first_block_ || count == 0 || begin + count > blocks_ || (free_ != 0 && begin < end_))
            throw_error(Code::kIntegrity, "{} free blocks from block {} of {}, after a run that ends at {}",
                        count, begin, blocks_, end_);
        end_ = begin + count;
        free_ += count;
        longest_ = std::max(longest_, count);
        return {begin, end_};
    }

    void check_count(const GroupHeader& header) const {
        if (free_ != header.free_blocks || longest_ != header.longest)
            throw_error(Code::kIntegrity,
                        "its tree has {} free blocks, {} of them in one run; its AGF says {} and {}", free_,
                        longest_, header.free_blocks, header.longest);
    }

  private:
    std::uint64_t first_block_, blocks_;
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
        FreeRuns runs(super_, group);
        XfsGroupTree(part_, super_, group, kXfsFreeTree)
            .walk(header.root, header.levels, [&](std::span<const std::byte> record) {
                const auto [begin, end] = runs.take(record);
                const block::Extent free{(base + begin) * super_.block_bytes,
                                         (base + end) * super_.block_bytes};
                if (free.touches(super_.log)) throw_error(Code::kIntegrity, "its log would be free");
                add_until(base + begin, base + end);
            });
        runs.check_count(header);
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
