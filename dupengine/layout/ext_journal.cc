#include "layout/ext_journal.h"

#include <algorithm>
#include <optional>

namespace dupengine::layout {
namespace {

constexpr std::uint32_t kMagic = 0xC03B3998;
enum BlockType : std::uint32_t { kDescriptor = 1, kCommit = 2, kSuperV1 = 3, kSuperV2 = 4, kRevoke = 5 };
enum Incompatible : std::uint32_t {
    kHasRevoke = 1,
    k64Bit = 2,
    kAsyncCommit = 4,
    kChecksumV2 = 8,
    kChecksumV3 = 16
};
enum TagFlag : std::uint32_t { kEscaped = 1, kSameUuid = 2, kLastTag = 8 };
constexpr std::size_t kHeaderBytes = 12, kUuidBytes = 16, kTailBytes = 4;

// Where the blocks of the journal's file lie.
class JournalFile {
  public:
    JournalFile(const ExtFilesystem& filesystem, const ExtGeometry& geometry, std::uint32_t inode)
        : end_(geometry.blocks) {
        filesystem.check(
            ext2fs_block_iterate3(filesystem.get(), inode, BLOCK_FLAG_READ_ONLY, nullptr, &take, this),
            "the blocks of its journal cannot be found");
        if (broken_) throw_error(Code::kIntegrity, "the file of its journal has holes or wild blocks");
    }

    std::uint64_t blocks() const { return blocks_; }

    std::uint64_t physical(std::uint64_t logical) const {
        if (logical >= blocks_)
            throw_error(Code::kIntegrity, "block {} of the journal is not there", logical);
        auto run = std::upper_bound(runs_.begin(), runs_.end(), logical,
                                    [](std::uint64_t value, const Run& r) { return value < r.logical; });
        --run;  // runs_ begins at 0 and has no gaps
        return run->physical + (logical - run->logical);
    }

  private:
    struct Run {
        std::uint64_t logical, physical;
    };
    // mke2fs makes no journal of more than 10 240 000 blocks; its pieces and its map are few.
    static constexpr std::uint64_t kBlockLimit = 1u << 24, kRunLimit = 1u << 17, kMapLimit = 1u << 17;

    static int take(ext2_filsys, blk64_t* block, e2_blkcnt_t logical, blk64_t, int, void* self) {
        return static_cast<JournalFile*>(self)->take_block(*block, logical) ? 0 : BLOCK_ABORT;
    }

    bool take_block(std::uint64_t block, std::int64_t logical) {
        if (logical < 0) {  // a block of the map itself
            broken_ = ++map_blocks_ > kMapLimit;
            return !broken_;
        }
        if (block >= end_ || static_cast<std::uint64_t>(logical) != blocks_ || blocks_ >= kBlockLimit ||
            runs_.size() >= kRunLimit) {
            broken_ = true;
            return false;
        }
        if (runs_.empty() || runs_.back().physical + (blocks_ - runs_.back().logical) != block)
            runs_.push_back({blocks_, block});
        ++blocks_;
        return true;
    }

    std::uint64_t end_, blocks_ = 0, map_blocks_ = 0;
    bool broken_ = false;
    std::vector<Run> runs_;
};

struct LogLimits {
    std::uint64_t first = 0, end = 0;  // the ring [first, end) in blocks of the file
    std::uint64_t start = 0;           // 0: nothing to play
    std::uint32_t sequence = 0;        // of the transaction at start
    std::size_t tag_bytes = 0, tail_bytes = 0;
    bool tag3 = false, wide = false;
};

LogLimits read_log_limits(std::span<const std::byte> super, std::uint64_t block_bytes,
                          std::uint64_t file_blocks) {
    const auto at = [&](std::size_t offset) { return load_be<std::uint32_t>(super, offset); };
    if (at(0) != kMagic || (at(4) != kSuperV1 && at(4) != kSuperV2))
        throw_error(Code::kIntegrity, "its journal has no superblock");
    LogLimits log;
    log.first = at(0x14);
    log.end = at(0x10);
    log.sequence = at(0x18);
    log.start = at(0x1C);
    if (at(0x0C) != block_bytes || log.end > file_blocks || log.first == 0 || log.first >= log.end ||
        log.start >= log.end)
        throw_error(Code::kIntegrity,
                    "its journal of {} blocks claims blocks [{}, {}), start {}, of {} bytes", file_blocks,
                    log.first, log.end, log.start, at(0x0C));
    if (at(0x20) != 0) throw_error(Code::kIntegrity, "its journal was stopped by an error ({})", at(0x20));
    if (log.start == 0) return log;
    if (log.start < log.first) throw_error(Code::kIntegrity, "its journal starts before its first block");

    const std::uint32_t features = at(4) == kSuperV2 ? at(0x28) : 0;
    const std::uint32_t unknown =
        features & ~(kHasRevoke | k64Bit | kAsyncCommit | kChecksumV2 | kChecksumV3);
    // Fast commits (0x20) say what changed in other words than whole blocks.
    if (unknown != 0)
        throw_error(Code::kIntegrity, "its journal has unplayed entries and feature {:#x}", unknown);
    log.wide = (features & k64Bit) != 0;
    log.tag3 = (features & kChecksumV3) != 0;
    if ((features & (kChecksumV2 | kChecksumV3)) != 0) log.tail_bytes = kTailBytes;
    log.tag_bytes = log.tag3 ? 16 : 8 + (log.wide ? 4 : 0) + ((features & kChecksumV2) != 0 ? 2 : 0);
    return log;
}

class LogWalk {
  public:
    LogWalk(const block::Reader& part, const ExtGeometry& geometry, const JournalFile& file,
            const std::vector<std::uint64_t>& wanted)
        : part_(part), block_bytes_(geometry.block_bytes), file_(file), wanted_(wanted) {
        log_ = read_log_limits(read_block(0), block_bytes_, file_.blocks());
    }

    std::vector<JournalCopy> run() {
        if (log_.start == 0) return {};
        next_ = log_.start;
        std::uint32_t sequence = log_.sequence;
        for (;;) {
            const Bytes block = read_block(next_);
            const auto at = [&](std::size_t offset) { return load_be<std::uint32_t>(block, offset); };
            if (at(0) != kMagic || at(8) != sequence) break;
            advance();
            if (at(4) == kDescriptor) {
                take_tags(block);
            } else if (at(4) == kCommit) {
                for (; committed_ < copies_.size(); ++committed_)
                    copies_[committed_].committed = true;
                ++sequence;
            } else if (at(4) != kRevoke) {
                break;
            }
        }
        return std::move(copies_);
    }

  private:
    Bytes read_block(std::uint64_t logical) const {
        const ByteOffset at = file_.physical(logical) * block_bytes_;
        return block::read_extent(part_, {at, at + block_bytes_});
    }

    void advance() {
        if (++steps_ > log_.end - log_.first)
            throw_error(Code::kIntegrity, "the log in its journal has no end");
        if (++next_ >= log_.end) next_ = log_.first;
    }

    void take_tags(std::span<const std::byte> block) {
        for (std::size_t at = kHeaderBytes; at + log_.tag_bytes <= block_bytes_ - log_.tail_bytes;) {
            const std::uint32_t flags =
                log_.tag3 ? load_be<std::uint32_t>(block, at + 4) : load_be<std::uint16_t>(block, at + 6);
            std::uint64_t number = load_be<std::uint32_t>(block, at);
            if (log_.wide) number |= std::uint64_t{load_be<std::uint32_t>(block, at + 8)} << 32;
            if (std::binary_search(wanted_.begin(), wanted_.end(), number))
                keep(number, (flags & kEscaped) != 0);
            advance();  // over the block that this tag describes
            at += log_.tag_bytes + ((flags & kSameUuid) != 0 ? 0 : kUuidBytes);
            if ((flags & kLastTag) != 0) break;
        }
    }

    void keep(std::uint64_t number, bool escaped) {
        constexpr std::size_t kCopyLimit = std::size_t{1} << 19;  // 12 MiB of them
        if (copies_.size() == kCopyLimit)
            throw_error(Code::kIntegrity, "its journal holds more than {} copies of bitmaps", kCopyLimit);
        copies_.push_back({number, file_.physical(next_), escaped, false});
    }

    const block::Reader& part_;
    std::uint64_t block_bytes_;
    const JournalFile& file_;
    const std::vector<std::uint64_t>& wanted_;
    LogLimits log_;
    std::uint64_t next_ = 0, steps_ = 0;
    std::vector<JournalCopy> copies_;
    std::size_t committed_ = 0;
};

}  // namespace

std::vector<JournalCopy> read_journal(const block::Reader& part, const ExtSuper& super,
                                      const ExtFilesystem& filesystem,
                                      const std::vector<std::uint64_t>& wanted) {
    if (super.external_journal)
        throw_error(Code::kIntegrity, "its journal was not played and is on another device");
    if (super.journal_inode == 0) throw_error(Code::kIntegrity, "it wants its journal played and has none");
    if (super.unknown_compat)
        throw_error(Code::kIntegrity, "its journal was not played and it has unknown features");
    const JournalFile file(filesystem, super.geometry, super.journal_inode);
    return LogWalk(part, super.geometry, file, wanted).run();
}

Bytes read_journal_copy(const block::Reader& part, std::uint64_t block_bytes, const JournalCopy& copy) {
    Bytes content = block::read_extent(part, {copy.at * block_bytes, (copy.at + 1) * block_bytes});
    if (copy.escaped) store_le<std::uint32_t>(content, 0, __builtin_bswap32(kMagic));
    return content;
}

ReplayedReader::ReplayedReader(const block::Reader& part, std::uint64_t block_bytes,
                               const std::vector<JournalCopy>& copies)
    : part_(part), block_bytes_(block_bytes) {
    for (const JournalCopy& copy : copies)
        if (copy.committed) newest_.insert_or_assign(copy.block, copy);
}

void ReplayedReader::read(ByteOffset offset, std::span<std::byte> buffer) const {
    part_.read(offset, buffer);
    const block::Extent asked{offset, offset + buffer.size()};
    for (auto at = newest_.lower_bound(offset / block_bytes_); at != newest_.end(); ++at) {
        const ByteOffset begin = at->first * block_bytes_;
        const block::Extent common = asked.clipped_to({begin, begin + block_bytes_});
        if (common.empty()) break;
        const Bytes content = read_journal_copy(part_, block_bytes_, at->second);
        std::copy_n(content.begin() + static_cast<std::ptrdiff_t>(common.begin - begin), common.size(),
                    buffer.begin() + static_cast<std::ptrdiff_t>(common.begin - offset));
    }
}

}  // namespace dupengine::layout
