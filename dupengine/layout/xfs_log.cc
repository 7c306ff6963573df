// Whether the log of an XFS is clean. The log is a ring of 512-byte blocks. Each carries the number of the
// turn (cycle) in which it was written: in its first word, or in the second where the first is the magic
// number of a record header. The head is where the cycle falls by one. A log is clean if the last record
// before the head is the one that unmounting writes.
//
// The kernel looks in the same way (xlog_find_tail); this is stricter: within the farthest that log writes
// could have overtaken each other, every block must carry the cycle that its place asks for.

#include <algorithm>

#include "layout/xfs_super.h"

namespace dupengine::layout {
namespace {

constexpr std::uint64_t kBlock = 512;
constexpr std::uint64_t kRecordLimit = 256 * kKiB / kBlock;    // data of a record, in blocks
constexpr std::uint64_t kOvertaking = 8 * kRecordLimit;        // eight buffers may be under way at once
constexpr std::uint64_t kCyclesInHeader = 32 * kKiB / kBlock;  // blocks that one header block describes
constexpr std::uint32_t kHeaderMagic = 0xFEEDBABE;
constexpr unsigned kUnmountFlag = 0x20;

class Log {
  public:
    Log(const block::Reader& part, block::Extent log)
        : part_(part), log_(log), blocks_(log.size() / kBlock) {}

    void check_clean() {
        find_head();
        const std::uint64_t reach = std::min(kOvertaking, blocks_ / 2);
        check_cycles(head_ + blocks_ - reach, 2 * reach + 1);
        if (!ends_with_unmount()) throw_error(Code::kIntegrity, "its log is dirty (not cleanly unmounted)");
    }

  private:
    Bytes read(std::uint64_t block, std::uint64_t count) const {
        const ByteOffset at = log_.begin + block * kBlock;
        return block::read_extent(part_, {at, at + count * kBlock});
    }

    static std::uint32_t cycle_of(std::span<const std::byte> block) {
        const auto first = load_be<std::uint32_t>(block, 0);
        return first == kHeaderMagic ? load_be<std::uint32_t>(block, 4) : first;
    }

    void find_head() {
        newest_ = cycle_of(read(0, 1));
        oldest_ = cycle_of(read(blocks_ - 1, 1));
        if (newest_ == 0) throw_error(Code::kIntegrity, "its log was never written");
        head_ = blocks_;
        if (newest_ == oldest_) return;
        if (oldest_ + 1 != newest_)
            throw_error(Code::kIntegrity, "its log begins with cycle {} and ends with cycle {}", newest_,
                        oldest_);
        std::uint64_t in_newest = 0;
        head_ = blocks_ - 1;
        while (head_ - in_newest > 1) {
            const std::uint64_t middle = in_newest + (head_ - in_newest) / 2;
            (cycle_of(read(middle, 1)) == newest_ ? in_newest : head_) = middle;
        }
    }

    // `first` may be anywhere in the first two turns.
    void check_cycles(std::uint64_t first, std::uint64_t count) const {
        constexpr std::uint64_t kPiece = 256;
        while (count > 0) {
            first %= blocks_;
            const std::uint64_t n = std::min({kPiece, count, blocks_ - first});
            const Bytes piece = read(first, n);
            for (std::uint64_t i = 0; i < n; ++i) {
                const std::uint32_t cycle = cycle_of(std::span(piece).subspan(i * kBlock, kBlock));
                // xfs_admin and xfs_repair leave zeros behind the record with which they renew a log.
                const bool in_place = first + i < head_ ? cycle == newest_ : cycle == oldest_ || cycle == 0;
                if (!in_place) throw_error(Code::kIntegrity, "its log is dirty (writes to it were cut off)");
            }
            first += n;
            count -= n;
        }
    }

    bool ends_with_unmount() const {
        const std::uint64_t reach = std::min(kRecordLimit + kRecordLimit / kCyclesInHeader, blocks_);
        for (std::uint64_t back = 1; back <= reach; ++back) {
            const std::uint64_t at = (head_ + blocks_ - back) % blocks_;
            const Bytes block = read(at, 1);
            if (load_be<std::uint32_t>(block, 0) == kHeaderMagic) return is_unmount(block, at, back);
        }
        return false;
    }

    // xlog_rec_header: cycle 4, version 8, length 12, its own address 16, count of operations 40, size of the
    // buffer 320. The operation: flags at 9.
    bool is_unmount(std::span<const std::byte> header, std::uint64_t at, std::uint64_t blocks_to_head) const {
        const auto cycle = load_be<std::uint32_t>(header, 4);
        const std::uint64_t length = load_be<std::uint32_t>(header, 12);
        const std::uint64_t buffer = load_be<std::uint32_t>(header, 320);
        const bool version2 = (load_be<std::uint32_t>(header, 8) & 2) != 0;
        const std::uint64_t per_header = kCyclesInHeader * kBlock;
        const std::uint64_t headers =
            version2 && buffer > per_header ? (buffer + per_header - 1) / per_header : 1;
        if (load_be<std::uint64_t>(header, 16) != (std::uint64_t{cycle} << 32 | at)) return false;
        if (length == 0 || headers + (length + kBlock - 1) / kBlock != blocks_to_head) return false;
        if (load_be<std::uint32_t>(header, 40) != 1) return false;
        const Bytes operation = read((at + headers) % blocks_, 1);
        return (std::to_integer<unsigned>(operation[9]) & kUnmountFlag) != 0;
    }

    const block::Reader& part_;
    block::Extent log_;
    std::uint64_t blocks_;
    std::uint32_t newest_ = 0, oldest_ = 0;  // cycles
    std::uint64_t head_ = 0;  // in [1, blocks_]: the first block that is not of the newest cycle
};

}  // namespace

void check_xfs_log_is_clean(const block::Reader& part, const XfsSuper& super) {
    Log(part, super.log).check_clean();
}

}  // namespace dupengine::layout
