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

}  // namespace

void check_grow_programs() {
    for (const char* name : {"e2fsck", "resize2fs"})
        if (!program_exists(name))
            throw_error(Code::kUnsupported, "--grow needs the program {} (Debian package e2fsprogs)", name);
}

void grow_filesystem(const std::string& path, const CopyPlan& plan) {
    block::LentRange lent(path, plan.grow->after, plan.protected_regions(), block::LentRange::Access::kWrite,
                          plan.sector_bytes);
    // The copy is as dirty as its source was; resize2fs wants a checked filesystem.
    must_succeed(run_program({"e2fsck", "-f", "-p", lent.device()}), "e2fsck", kFsckCorrected);
    must_succeed(run_program({"resize2fs", lent.device()}), "resize2fs");
    must_succeed(run_program({"e2fsck", "-f", "-n", lent.device()}), "e2fsck");
    lent.give_back();
}

}  // namespace dupengine::engine
