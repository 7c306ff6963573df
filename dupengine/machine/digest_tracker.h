#pragma once
// What changed on disks that are followed as one, told without the kernel's help: what was given away is
// remembered by digests (sent_tags.h), and take() reads again all that is in use and names what differs. It
// is right for the same reason as marks are: what is remembered is of the bytes that were given away, so
// whatever was written later differs. What came into use since, wherever it lies, was never given away.
//
// So the pause takes as long as reading all that is in use. In it nothing but digests would show a write, and
// they were read once: that nobody wrote is told by what the kernel counts (write_counts.h).

#include <functional>

#include "base/error.h"
#include "base/random.h"
#include "machine/change_tracker.h"
#include "machine/row_tracker.h"
#include "machine/sent_tags.h"
#include "machine/write_counts.h"

namespace dupengine::machine {

/// Says what works instead.
[[noreturn]] void refuse_a_long_pause(Code code, const std::string& disk, ChangeTracker::Seconds expected,
                                      ChangeTracker::Seconds most);

/// The other end waits for an answer while all is read, and not for ever.
inline constexpr std::chrono::seconds kLongestReadingPause{240};

class DigestTracker final : public ChangeTracker {
  public:
    /// `row` reads all of `disks`, and outlives it. Throws as whole_disk_number() and WriteCounts.
    /// `a_while` is how long take_some() reads: short beside the patience of the other end, which waits.
    DigestTracker(const block::Reader& row, const std::vector<FollowedDisk>& disks, RandomSource& random,
                  std::chrono::milliseconds a_while = std::chrono::seconds(10));

    block::ExtentSet take() override;
    block::ExtentSet take_some() override;
    bool is_through() const override { return next_ == parts_.size(); }
    std::uint64_t pending_bytes(const block::ExtentSet& without) const override;
    bool was_written(const block::ExtentSet& without) const override;
    bool compares() const override { return true; }
    void note(ByteOffset offset, std::span<const std::byte> bytes) override;
    /// Throws kUnsupported if more is in use than can be remembered.
    void look(const block::Reader& disk, const block::ExtentSet& without) override;
    /// Reads a little, if nothing was read yet.
    Seconds time_to_take() override;
    std::string remark() override;

  private:
    using Clock = std::chrono::steady_clock;
    /// From several threads.
    using Comparison = std::function<block::ExtentSet(ByteOffset offset, std::span<const std::byte> bytes,
                                                      codec::KeyedDigest& digest)>;
    block::ExtentSet read_parts(const std::vector<block::Extent>& parts, std::size_t& next,
                                const Comparison& compare, Clock::time_point until) const;
    void begin_pass();
    block::ExtentSet go_on(Clock::time_point until);
    block::ExtentSet to_be_read() const;
    block::ExtentSet in_few_extents(const block::ExtentSet& extents) const;
    void measure(const block::ExtentSet& all);

    const block::Reader& row_;
    const std::vector<FollowedDisk> disks_;
    const std::chrono::milliseconds a_while_;
    codec::KeyedDigest::Key key_{};
    SentTags tags_;
    std::vector<WriteCounts> counts_;
    bool was_looked_at_ = false;
    block::ExtentSet used_;   // when it was looked at last
    block::ExtentSet given_;  // what the copy has, at first or by a later take()
    // One pass over all that is in use; of those before next_ it is known what differs.
    std::vector<block::Extent> parts_;
    std::size_t next_ = 0;
    std::uint64_t pass_bytes_ = 0, pass_named_ = 0;
    double pass_seconds_ = 0;
    std::uint64_t named_ = 0;  // by the last whole pass
    double bytes_per_second_ = 0, seconds_to_look_ = 0;
};

}  // namespace dupengine::machine
