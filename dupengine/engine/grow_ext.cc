// ext2, ext3, ext4: resize2fs(8), offline.

#include "engine/growers.h"

namespace dupengine::engine {

void grow_ext(const GrowJob& job) {
    // e2fsck's exit status is a set of bits (e2fsck(8)): 1 errors corrected, 2 reboot wanted; from 4 on,
    // errors stay.
    constexpr int kFsckCorrected = 3;
    block::LentRange lent = job.lend(block::LentRange::Access::kWrite);
    // The copy is as dirty as its source was; resize2fs wants a checked filesystem.
    job.run({"e2fsck", "-f", "-p", lent.device()}, kFsckCorrected);
    job.run({"resize2fs", lent.device()});
    job.run({"blockdev", "--flushbufs", lent.device()});
    lent.give_back();
    job.check_medium({"e2fsck", "-f", "-n"});
    job.expect_grown();
}

}  // namespace dupengine::engine
