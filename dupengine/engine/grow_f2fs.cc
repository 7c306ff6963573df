// F2FS: resize.f2fs(8), offline. Its exit status is 0 also for some of what it could not do, so the size is
// looked at afterwards.

#include "engine/growers.h"

namespace dupengine::engine {

void grow_f2fs(const GrowJob& job) {
    block::LentRange lent = job.lend(block::LentRange::Access::kWrite);
    job.run({"resize.f2fs", lent.device()});
    job.run({"blockdev", "--flushbufs", lent.device()});
    lent.give_back();
    job.check_medium({"fsck.f2fs", "--dry-run"});
    job.expect_grown();
}

}  // namespace dupengine::engine
