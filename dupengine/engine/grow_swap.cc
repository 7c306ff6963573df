// Swap that moves to the end of a larger disk: mkswap(8) with the identifiers that it had, so that fstab and
// the initramfs find it.

#include "block/page_cache.h"
#include "engine/growers.h"
#include "layout/signature.h"

namespace dupengine::engine {

void make_moved_swap(const GrowJob& job) {
    const SwapMove& move = *job.step().swap;
    block::LentRange lent = job.lend(move.after, block::LentRange::Access::kWrite);
    std::vector<std::string> argv = {"mkswap",     "--force",
                                     "--pagesize", std::to_string(move.page_bytes),
                                     "--uuid",     move.uuid.empty() ? "clear" : move.uuid};
    if (!move.label.empty()) argv.insert(argv.end(), {"--label", move.label});
    argv.push_back(lent.device());
    job.run(argv);
    job.run({"blockdev", "--flushbufs", lent.device()});
    lent.give_back();
    block::forget_cached(job.target());
    const auto found = layout::probe_signature(job.target(), move.after);
    if (!found || found->type != "swap" || found->uuid != move.uuid || found->label != move.label)
        throw_error(Code::kIntegrity, "{}: the swap at {} does not read back as it was made",
                    job.target().name(), move.after.text());
}

}  // namespace dupengine::engine
