#pragma once
// Who says what changed on a disk while it is copied, or on several in a row (block/disk_row.h): the kernel,
// which marks every write (row_tracker.h), or digests of what was given away, compared with what the disk
// holds now (digest_tracker.h). Of both: what is given away before a write to it is done is named by a later
// take().
//
// Threads: note() from any; else used by one at a time.

#include <chrono>
#include <string>

#include "block/device.h"

namespace dupengine::machine {

class ChangeTracker {
  public:
    using Seconds = std::chrono::duration<double>;
    virtual ~ChangeTracker() = default;

    /// What changed since it was asked last, and perhaps more; it is forgotten.
    virtual block::ExtentSet take() = 0;
    /// As take(), or as much of it as can be said in a while: what follows is said by the next ones, until
    /// is_through(). A take() in between begins anew.
    virtual block::ExtentSet take_some() { return take(); }
    virtual bool is_through() const { return true; }
    /// How much of that take() would name which does not lie in `without`; of who compares, about.
    virtual std::uint64_t pending_bytes(const block::ExtentSet& without) const = 0;
    /// Whether something was written outside `without` since take(); of who compares, since look().
    virtual bool was_written(const block::ExtentSet& without) const = 0;

    /// It compares. Then it is told what is given away, looks at the disk at rest before take(), and that
    /// reads all that is in use.
    virtual bool compares() const { return false; }
    /// Whole pieces of kNotedPiece (the last one of the disk ends with it), as they are given away.
    virtual void note(ByteOffset offset, std::span<const std::byte> bytes) {
        static_cast<void>(offset), static_cast<void>(bytes);
    }
    static constexpr std::uint64_t kNotedPiece = 64 * 1024;
    /// At rest: which of the disk is in use, as `disk` has it. What is in `without` is written all the same.
    virtual void look(const block::Reader& disk, const block::ExtentSet& without) {
        static_cast<void>(disk), static_cast<void>(without);
    }
    /// How long take() is expected to read.
    virtual Seconds time_to_take() { return {}; }
    /// What a person should hear of all that; empty: nothing.
    virtual std::string remark() { return {}; }
};

}  // namespace dupengine::machine
