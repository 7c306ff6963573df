// From an XFS inode to the blocks of its content and attributes: a list of extents in the inode, or the root
// of a B+tree of them ("Data Extents" and "B+tree Extent List").

#include <algorithm>

#include "layout/xfs_inodes.h"

namespace dupengine::layout {
namespace {

constexpr std::size_t kRecord = 16, kKey = 8, kPointer = 8, kRootHeader = 4;
constexpr unsigned kLevelLimit = 9;
constexpr std::uint32_t kTreeMagic = 0x424D4150, kSealedTreeMagic = 0x424D4133;  // "BMAP", "BMA3"

using OnRun = std::function<void(const XfsRun&)>;

class Runs {
  public:
    Runs(XfsSearch& search, const XfsInode& inode, const OnRun& on_run)
        : search_(search), inode_(inode), on_run_(on_run) {}

    void take_list(std::span<const std::byte> records) {
        for (; !records.empty(); records = records.subspan(kRecord))
            take(load_be<std::uint64_t>(records, 0), load_be<std::uint64_t>(records, 8));
    }

    void take_root(std::span<const std::byte> fork) {
        const unsigned level = load_be<std::uint16_t>(fork, 0);
        const std::size_t count = load_be<std::uint16_t>(fork, 2),
                          room = (fork.size() - kRootHeader) / (kKey + kPointer);
        if (level == 0 || level > kLevelLimit || count > room)
            throw_error(Code::kIntegrity, "a tree of extents with {} levels and {} pointers", level, count);
        visit_children(fork.subspan(kRootHeader + room * kKey), count, level - 1);
    }

  private:
    // One extent in 128 bits: a flag, 54 bits of where in the file, 52 of where on the disk, 21 of how many.
    void take(std::uint64_t high, std::uint64_t low) {
        const std::uint64_t file_block = high >> 9 & ((std::uint64_t{1} << 54) - 1),
                            block = (high & 0x1FF) << 43 | low >> 21,
                            count = low & ((std::uint64_t{1} << 21) - 1);
        on_run_({false, file_block, bytes_of(block, count)});
    }

    block::Extent bytes_of(std::uint64_t block, std::uint64_t count) const {
        return search_.bytes_of(block >> search_.block_bits,
                                block & ((std::uint64_t{1} << search_.block_bits) - 1), count);
    }

    void visit_children(std::span<const std::byte> pointers, std::size_t count, unsigned level) {
        for (std::size_t i = 0; i < count; ++i) {
            const auto child = load_be<std::uint64_t>(pointers, i * kPointer);
            search_.tolerating([&] { visit(child, level); });
        }
    }

    void visit(std::uint64_t number, unsigned level) {
        const block::Extent place = bytes_of(number, 1);
        on_run_({true, 0, place});
        const Bytes block = search_.read_structure(place);
        const bool sealed = search_.super.checksums;
        if (load_be<std::uint32_t>(block, 0) != (sealed ? kSealedTreeMagic : kTreeMagic))
            throw_error(Code::kIntegrity, "block {} is no tree block of extents", number);
        if (sealed) check_seal(block, place);
        const std::size_t header = sealed ? 72 : 24, count = load_be<std::uint16_t>(block, 6),
                          room = (block.size() - header) / kRecord;
        if (load_be<std::uint16_t>(block, 4) != level || count > room)
            throw_error(Code::kIntegrity, "tree block {} of extents with {} entries", number, count);
        const auto entries = std::span(block).subspan(header);
        if (level == 0)
            take_list(entries.first(count * kRecord));
        else
            visit_children(entries.subspan(room * kKey), count, level - 1);
    }

    void check_seal(std::span<const std::byte> block, block::Extent place) const {
        check_xfs_checksum(block, 64, "a tree block of extents");
        if (load_be<std::uint64_t>(block, 24) != place.begin / 512 ||
            load_be<std::uint64_t>(block, 56) != inode_.number ||
            !std::equal(search_.super.uuid.begin(), search_.super.uuid.end(), block.begin() + 40))
            throw_error(Code::kIntegrity, "a tree block of extents belongs somewhere else");
    }

    XfsSearch& search_;
    const XfsInode& inode_;
    const OnRun& on_run_;
};

// How many extents the inode lists. Since 5.18 the numbers may be longer, and lie elsewhere (nrext64).
std::uint64_t extent_count(const XfsInode& inode, XfsFork fork) {
    const bool sealed = load_le<std::uint8_t>(inode.content, 4) == 3;
    const bool is_long = sealed && (load_be<std::uint64_t>(inode.content, 120) >> 4 & 1) != 0;
    if (fork == XfsFork::kContent)
        return is_long ? load_be<std::uint64_t>(inode.content, 24)
                       : load_be<std::uint32_t>(inode.content, 76);
    return is_long ? load_be<std::uint32_t>(inode.content, 76) : load_be<std::uint16_t>(inode.content, 80);
}

}  // namespace

void for_each_xfs_run(XfsSearch& search, const XfsInode& inode, XfsFork fork, const OnRun& on_run) {
    if (inode.content.empty()) return;
    search.tolerating([&] {
        const auto bytes = xfs_fork(inode, fork);
        if (bytes.empty()) return;
        Runs runs(search, inode, on_run);
        if (xfs_format(inode, fork) == XfsFormat::kTree) runs.take_root(bytes);
        if (xfs_format(inode, fork) != XfsFormat::kExtents) return;
        const std::uint64_t count = extent_count(inode, fork);
        if (count > bytes.size() / kRecord)
            throw_error(Code::kIntegrity, "{} extents in {} bytes", count, bytes.size());
        runs.take_list(bytes.first(count * kRecord));
    });
}

}  // namespace dupengine::layout
