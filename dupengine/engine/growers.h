#pragma once
// One way to grow for each filesystem (grow_NAME.cc), and what they share. Internal to growing (grow.cc).
//
// A program is given the lent range and nothing else. What has no program that can be trusted with it is
// grown by ourselves, through the guard; each such file says why.

#include <stop_token>
#include <string>
#include <utility>
#include <vector>

#include "block/lend.h"
#include "codec/digest.h"
#include "engine/plan.h"

namespace dupengine::engine {

/// What a grower works on. The filesystem begins at plan.grow->after.begin and is to end at its end.
class GrowJob {
  public:
    GrowJob(const CopyPlan& plan, block::Target& target, std::stop_token stop)
        : plan_(plan), target_(target), stop_(std::move(stop)) {}

    const GrowStep& step() const { return *plan_.grow; }
    block::Target& target() const { return target_; }
    const std::stop_token& stop() const { return stop_; }
    /// A range of the target, as a device that ends where it ends.
    block::LentRange lend(block::Extent range, block::LentRange::Access access) const;
    /// The place of the filesystem.
    block::LentRange lend(block::LentRange::Access access) const { return lend(step().after, access); }
    /// Runs a program to its end, however long that takes. Throws kTargetIo with its complaint for an exit
    /// status with other bits than those allowed, kInterrupted if it was stopped on request.
    void run(const std::vector<std::string>& argv, int allowed_bits = 0) const;
    /// Throws kIntegrity unless `size` bytes of the target's medium have this digest.
    void expect_on_medium(ByteOffset offset, const codec::Sha256& digest, std::size_t size) const;
    /// Runs a checker, which gets the place of the filesystem as its last argument and may only read it: what
    /// it sees was read from the medium, as nothing of the target stays in memory. Throws as run.
    void check_medium(std::vector<std::string> argv) const;
    /// Throws kTargetIo unless the filesystem fills its place now: programs exit with 0 also where they did
    /// nothing.
    void expect_grown() const;

  private:
    const CopyPlan& plan_;
    block::Target& target_;
    std::stop_token stop_;
};

void grow_btrfs(const GrowJob& job);
void grow_ext(const GrowJob& job);
void grow_f2fs(const GrowJob& job);
void grow_fat(const GrowJob& job);
void grow_ntfs(const GrowJob& job);
void grow_xfs(const GrowJob& job);

/// Makes the swap of the step anew at its new place. Throws as the growers do, and kIntegrity if it is not
/// there afterwards.
void make_moved_swap(const GrowJob& job);

/// Whether this machine's kernel mounts the source's XFS for writing: an older one may not know all its
/// features. Throws kUnsupported, kRefused if there is no room for what mounting writes: it goes beside the
/// source, which is only read.
void refuse_unmountable_xfs(const CopyPlan& plan, const block::Reader& source);

}  // namespace dupengine::engine
