#include "engine/grow.h"

#include "base/subprocess.h"
#include "block/lend.h"

namespace dupengine::engine {
namespace {

// e2fsck's exit status is a set of bits (e2fsck(8)): 1 errors corrected, 2 reboot wanted; from 4 on, errors
// stay.
constexpr int kFsckCorrected = 3;

void must_succeed(const RunResult& result, const std::string& program, int allowed_bits = 0) {
    if ((result.status & ~allowed_bits) != 0)
        throw_error(Code::kTargetIo, "growing the filesystem: {}: {}", program, result.complaint());
}

// Checking a large filesystem takes hours; only who started the copy may lose patience.
RunOptions patient(const std::stop_token& stop) {
    RunOptions options;
    options.deadline = std::chrono::hours(7 * 24);
    options.stop = stop;
    return options;
}

// The disk that is open, whatever its path may lead to by now.
std::string path_of(const block::Reader& disk) {
    return fmt::format("/proc/self/fd/{}", disk.native_fd());
}

}  // namespace

void refuse_if_growing_is_impossible(const CopyPlan& plan, const block::Reader& target) {
    if (!plan.grow) return;
    for (const char* name : {"e2fsck", "resize2fs", "blockdev"})
        if (!program_exists(name))
            throw_error(Code::kUnsupported,
                        "--grow needs the program {} (Debian packages e2fsprogs, util-linux)", name);
    // Lending needs loop devices and the right to use them: better known now than after the copy.
    block::LentRange(path_of(target), plan.grow->after, plan.protected_regions(),
                     block::LentRange::Access::kRead, plan.sector_bytes);
}

void grow_filesystem(const CopyPlan& plan, const block::Target& target, std::stop_token stop) {
    block::LentRange lent(path_of(target), plan.grow->after, plan.protected_regions(),
                          block::LentRange::Access::kWrite, plan.sector_bytes);
    const RunOptions options = patient(stop);
    try {
        // The copy is as dirty as its source was; resize2fs wants a checked filesystem.
        must_succeed(run_program({"e2fsck", "-f", "-p", lent.device()}, options), "e2fsck", kFsckCorrected);
        must_succeed(run_program({"resize2fs", lent.device()}, options), "resize2fs");
        must_succeed(run_program({"blockdev", "--flushbufs", lent.device()}), "blockdev");
        must_succeed(run_program({"e2fsck", "-f", "-n", lent.device()}, options), "e2fsck");
    } catch (Error& e) {
        if (e.code() != Code::kInterrupted) throw;
        throw_error(Code::kInterrupted,
                    "stopped on request while the filesystem grew; run the same command again");
    }
    lent.give_back();
}

}  // namespace dupengine::engine
