#pragma once
// A disk of this machine that is in use, or several as one (block/disk_row.h), as something to be copied
// while it is. The way of its bytes:
//
//     tracker on -> filesystems frozen, described, thawed      the plan is of one moment
//     the copy reads all of it, past the page cache            some blocks are older than others
//     round 1, 2, ...: what was written meanwhile              each names less, if it can be copied at all
//     last round: participants prepared, filesystems frozen,   one moment again, and clean
//                 what was written since is read into memory,
//                 thawed, participants resumed
//     the copy reads what the last round names, from memory
//
// So what was read before, with what every round named laid over it in order, is the disk at the moment of
// the last one. The pause does not depend on who copies, nor on the way there. It was one moment only if
// nothing was written while it lasted, which the tracker knows, and if the same filesystems were mounted
// before and after; else it was a round like any other. Where swap is in use now it is not followed: what it
// holds belongs to what runs now. What becomes something else meanwhile is followed again.
//
// Threads: read from any; round() too, one at a time.

#include <atomic>
#include <chrono>
#include <exception>
#include <functional>
#include <map>
#include <memory>
#include <mutex>

#include "block/changes.h"
#include "block/device.h"
#include "machine/frozen_filesystems.h"
#include "machine/row_tracker.h"

namespace dupengine::machine {

/// What uses the disk at a moment; of several, all of them.
struct DiskUses {
    std::vector<MountPlace> mounts;
    block::ExtentSet swap;  ///< in use now, without the headers
    bool operator==(const DiskUses&) const = default;
};

/// What was written to a disk up to a moment, and what it held then.
struct AtRest {
    block::ExtentSet extents;
    std::map<ByteOffset, Bytes> held;
    bool is_moment = false;  ///< all of it was read, and nothing was written meanwhile
    double pause = 0;        ///< in seconds
    std::vector<std::string> notes = {};
};

struct HotOptions {
    /// Rounds go on until the last one is expected to take less.
    std::chrono::milliseconds max_pause{2000};
    std::chrono::milliseconds freeze_deadline{10000};
    /// Asked before each freeze and after it.
    std::function<DiskUses()> look_at_uses = [] { return DiskUses{}; };
    /// Around the last freeze: called before, and after the thaw. `prepare` throws to call it off.
    std::function<void()> prepare = {};
    std::function<void(bool is_done)> resume = {};
    /// Where more than the disk is brought to rest (live_process.h): waits for a while until that can be.
    /// False: not yet, and the round is one like any other.
    std::function<bool()> wait_for_rest = [] { return true; };
    /// Does what take_at_rest() does, by calling take_frozen() there. Empty: filesystems are frozen here.
    std::function<AtRest()> rest = {};
    /// A disk that is written as fast as it is copied never gets there.
    std::uint32_t most_rounds = 32;
};

/// For the report; times in seconds.
struct HotReport {
    double first_pause = 0;  ///< while it was described
    double last_pause = 0;   ///< from the first frozen filesystem to the last thawed one
    std::vector<std::uint64_t> round_bytes;
    std::vector<std::string> notes;
};

class HotDisk final : public block::Reader {
  public:
    /// `disk` reads the whole disk at `path`. Throws as WriteTracker.
    HotDisk(const block::Reader& disk, const std::string& path, HotOptions options);
    /// `row` reads all that `tracker` follows.
    HotDisk(const block::Reader& row, std::unique_ptr<ChangeTracker> tracker, HotOptions options);
    ~HotDisk() override;

    /// Calls `look` with everything on the disk at rest, and keeps what that reads and what it names: read()
    /// answers it as it was then, however long planning takes; after the first round, as it is now (what was
    /// written since is in a round). Throws what `look` throws; kUnsupported if
    /// that is too much to keep, or the pause cannot be as short as it has to be; kRefused if it could not be
    /// at rest for so long.
    void look_at_rest(const std::function<block::ExtentSet()>& look);

    /// The round with this number, from 1: a new one if it follows the one that was asked before, else that
    /// one again. Throws kPeer for any other; kRefused if more is written than can be copied, or somebody
    /// writes who cannot be brought to rest.
    /// After a round that failed, the same failure.
    std::shared_ptr<const block::Changes> round(std::uint32_t number);
    HotReport report() const;
    /// What a person should hear before it begins (change_tracker.h).
    std::string remark() { return tracker_->remark(); }

    /// What was written, and what it holds: for who has frozen everything that writes to the disk, in this
    /// process or in a copy of it. Throws kSourceIo.
    AtRest take_frozen(const DiskUses& uses);

    const block::Geometry& geometry() const override { return disk_.geometry(); }
    const std::string& name() const override { return disk_.name(); }
    /// Never from the page cache: that may be older than the disk. What was kept at rest is as it was then.
    void read(ByteOffset offset, std::span<std::byte> buffer) const override;
    /// As it is now; after the last round only what that names, as it was then: kRefused for anything else.
    void read_from_medium(ByteOffset offset, std::span<std::byte> buffer) const override;

  private:
    using Clock = std::chrono::steady_clock;
    using Seconds = std::chrono::duration<double>;
    using Kept = std::map<ByteOffset, Bytes>;
    std::shared_ptr<const block::Changes> next_round(std::uint32_t number);
    std::shared_ptr<const block::Changes> last_round();
    AtRest take_at_rest(const OpenFilesystems& filesystems);
    std::shared_ptr<block::Changes> round_like_any_other(const DiskUses& uses);
    block::ExtentSet leave_out_swap(const DiskUses& uses, block::ExtentSet changed);
    void look_again(const DiskUses& uses);
    Seconds shortest_pause() const;
    Seconds expected_pause(const DiskUses& uses) const;
    bool can_be_last(const DiskUses& uses) const;
    bool is_worth_a_round(const DiskUses& uses);
    [[noreturn]] void give_up(std::uint32_t number, const DiskUses& uses) const;
    void keep(block::Extent extent) const;
    void read_and_note(ByteOffset offset, std::span<std::byte> buffer, const Kept& over) const;
    Kept read_all(const block::ExtentSet& extents) const;
    void note_not_frozen(const FrozenFilesystems& frozen);

    const block::Reader& disk_;
    HotOptions options_;
    std::unique_ptr<ChangeTracker> tracker_;
    block::ExtentSet left_out_;  // written, while it was swap
    double bytes_per_second_;
    Seconds to_freeze_{};
    mutable std::mutex mutex_;
    std::uint32_t number_ = 0, continued_rounds_ = 0;
    unsigned tries_ = 0, shortening_rounds_ = 0, slow_rounds_ = 0;
    std::shared_ptr<const block::Changes> round_;
    std::exception_ptr failure_;  // of a round: there is none after it
    mutable Kept looked_at_;      // while the first moment lasts
    bool is_looking_ = false;
    // Of the first moment, until a round is asked for: from there on it is in memory for nothing.
    std::atomic<std::shared_ptr<const Kept>> at_rest_;
    Kept held_;  // of the last round
    std::atomic<bool> is_held_ = false;
    HotReport report_;
};

}  // namespace dupengine::machine
