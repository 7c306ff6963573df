// NTFS: ntfsresize(8), offline. It marks the volume for chkdsk, which Windows runs at its next start.

#include "engine/growers.h"

namespace dupengine::engine {

void grow_ntfs(const GrowJob& job) {
    block::LentRange lent = job.lend(block::LentRange::Access::kWrite);
    // Its first act is a check of the whole volume, and it ends there if that finds anything. Two --force: it
    // asks nothing, and resizes also what is marked for chkdsk already.
    job.run({"ntfsresize", "--force", "--force", "--no-progress-bar", lent.device()});
    job.run({"blockdev", "--flushbufs", lent.device()});
    lent.give_back();
    job.check_medium({"ntfsresize", "--info", "--force", "--no-progress-bar"});
    job.expect_grown();
}

}  // namespace dupengine::engine
