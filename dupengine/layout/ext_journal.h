#pragma once
// What an unplayed jbd2 journal will do to a few blocks that matter here. While an ext filesystem is mounted,
// and after a crash, newly allocated blocks may be marked used in the journal only; the bitmaps in place
// still call them free. Who trusts those loses committed files. Reads the log as far as recovery could, never
// writes. Internal to layout/. Format: Documentation/filesystems/ext4/journal.rst in the kernel. Numbers in
// it are big-endian.

#include <map>
#include <vector>

#include "layout/ext_filesystem.h"
#include "layout/ext_super.h"

namespace dupengine::layout {

/// A block of the filesystem as a transaction in the log has it. Block numbers count from the start of the
/// part.
struct JournalCopy {
    std::uint64_t block = 0;  ///< where it belongs
    std::uint64_t at = 0;     ///< where the copy lies
    bool escaped = false;     ///< its first four bytes were the journal's magic and stand as zeros in the log
    bool committed = false;   ///< its transaction is complete, so recovery will play it
};

/// All copies of the blocks in `wanted` (ascending) between the start of the log and its end, oldest first.
/// The end is where recovery stops at the latest: checksums are not looked at, so this may be more than
/// recovery plays, and is never less. Revoked blocks are not left out: `wanted` are superblock, descriptors
/// and bitmaps, which are never freed. Empty if there is nothing to play. Throws kIntegrity for a log that
/// cannot be followed.
std::vector<JournalCopy> read_journal(const block::Reader& part, const ExtSuper& super,
                                      const ExtFilesystem& filesystem,
                                      const std::vector<std::uint64_t>& wanted);

/// The content of a copy, a whole block.
Bytes read_journal_copy(const block::Reader& part, std::uint64_t block_bytes, const JournalCopy& copy);

/// The part as it will be when the committed copies have been played. Used by one thread.
class ReplayedReader final : public block::Reader {
  public:
    ReplayedReader(const block::Reader& part, std::uint64_t block_bytes,
                   const std::vector<JournalCopy>& copies);
    const block::Geometry& geometry() const override { return part_.geometry(); }
    const std::string& name() const override { return part_.name(); }
    void read(ByteOffset offset, std::span<std::byte> buffer) const override;

  private:
    const block::Reader& part_;
    std::uint64_t block_bytes_;
    std::map<std::uint64_t, JournalCopy> newest_;
};

}  // namespace dupengine::layout
