// F2FS (Linux' linux/f2fs_fs.h and fs/f2fs/segment.c). Used are all of the metadata in front of the main
// area, and the blocks of the main area that the segment information table (SIT) calls valid. Of each block
// of that table there are two copies, of which the checkpoint says which one is in force; the newest entries
// may stand in a journal inside the checkpoint only.
//
// Believed only after a clean unmount: what was written and flushed after a checkpoint lies in blocks that
// the table still calls free, and is found again by rolling forward.

#include <bit>

#include "layout/extent_collector.h"
#include "layout/f2fs_checkpoint.h"
#include "layout/used_extents.h"

namespace dupengine::layout {
namespace {

class Scan {
  public:
    Scan(const block::Reader& part, const F2fsSuper& super, const F2fsCheckpoint& checkpoint)
        : part_(part), super_(super), checkpoint_(checkpoint) {}

    block::ExtentSet run() {
        constexpr std::uint64_t kEntriesInBlock = kF2fsBlock / kF2fsSitEntry;
        collected_.add({0, super_.main * kF2fsBlock});
        for (std::uint64_t segment = 0, block = 0; segment < super_.segments; ++block) {
            const Bytes entries = read_table_block(block);
            for (std::size_t i = 0; i < kEntriesInBlock && segment < super_.segments; ++i, ++segment) {
                const auto newer = checkpoint_.newer.find(segment);
                if (newer != checkpoint_.newer.end())
                    take(segment, newer->second);
                else
                    take(segment, std::span(entries).subspan(i * kF2fsSitEntry, kF2fsSitEntry));
            }
        }
        // Blocks that are set aside for a file, but were never written, have no place yet: the checkpoint
        // counts them, the table does not. Nodes are all in their place.
        if (valid_ > checkpoint_.valid_blocks || valid_nodes_ < checkpoint_.valid_nodes)
            throw_error(Code::kIntegrity,
                        "the SIT counts {} valid blocks, {} of them in segments of nodes; the checkpoint {} "
                        "and {}",
                        valid_, valid_nodes_, checkpoint_.valid_blocks, checkpoint_.valid_nodes);
        return collected_.take();
    }

  private:
    // The first bit of a byte is the uppermost one, in all bitmaps of F2FS.
    static bool bit(std::span<const std::byte> bitmap, std::uint64_t index) {
        return (std::to_integer<unsigned>(bitmap[index / 8]) >> (7 - index % 8) & 1) != 0;
    }

    Bytes read_table_block(std::uint64_t block) const {
        const std::uint64_t copy = bit(checkpoint_.sit_versions, block) ? super_.sit_blocks : 0;
        const ByteOffset at = (super_.sit + copy + block) * kF2fsBlock;
        return block::read_extent(part_, {at, at + kF2fsBlock});
    }

    void take(std::uint64_t segment, std::span<const std::byte> entry) {
        constexpr unsigned kFirstNodeType = 3, kTypes = 6;  // hot, warm and cold data; the same of nodes
        const unsigned count = load_le<std::uint16_t>(entry, 0) & 0x3FF;
        const unsigned type = load_le<std::uint16_t>(entry, 0) >> 10;
        const auto bitmap = entry.subspan(2, kF2fsSegment / 8);
        unsigned ones = 0;
        for (std::byte byte : bitmap)
            ones += static_cast<unsigned>(std::popcount(std::to_integer<unsigned>(byte)));
        if (ones != count || type >= kTypes)
            throw_error(Code::kIntegrity, "segment {} of type {} has {} valid blocks, and says {}", segment,
                        type, ones, count);
        valid_ += count;
        if (type >= kFirstNodeType) valid_nodes_ += count;
        const std::uint64_t base = super_.main + segment * kF2fsSegment;
        for (std::uint64_t begin = 0; begin < kF2fsSegment && ones > 0;) {
            if (!bit(bitmap, begin)) {
                ++begin;
                continue;
            }
            std::uint64_t end = begin + 1;
            while (end < kF2fsSegment && bit(bitmap, end))
                ++end;
            collected_.add({(base + begin) * kF2fsBlock, (base + end) * kF2fsBlock});
            ones -= static_cast<unsigned>(end - begin);
            begin = end;
        }
    }

    const block::Reader& part_;
    const F2fsSuper& super_;
    const F2fsCheckpoint& checkpoint_;
    ExtentCollector collected_;
    std::uint64_t valid_ = 0, valid_nodes_ = 0;
};

}  // namespace

UsedExtents f2fs_used_extents(const block::Reader& part) {
    const F2fsSuper super = read_f2fs_super(part);
    const F2fsCheckpoint checkpoint = read_f2fs_checkpoint(part, super);
    UsedExtents result;
    result.block_bytes = kF2fsBlock;
    result.filesystem_bytes = super.blocks * kF2fsBlock;
    result.note = super.note;
    result.used = Scan(part, super, checkpoint).run();
    return result;
}

}  // namespace dupengine::layout
