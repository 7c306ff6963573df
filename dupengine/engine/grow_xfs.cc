// XFS: xfs_growfs(8), which wants it mounted. So it is, in a mount namespace that ends with the program: no
// other process sees it, and it is unmounted however the program ends, also when it is killed.

#include "base/subprocess.h"
#include "block/lent_file.h"
#include "engine/growers.h"

namespace dupengine::engine {
namespace {

// A folder that is there wherever the driver is, and that nothing is ever mounted on: only this namespace
// has the filesystem in its place.
constexpr const char* kPlace = "/sys/fs/xfs";

// The shell only does one after the other; what it is given are its arguments, never its text. The program
// takes its place in the end, so that waiting for it is waiting for the unmount. As a slave the namespace
// keeps nothing mounted that the machine unmounts meanwhile (where its mounts are shared, as systemd makes
// them).
std::vector<std::string> while_mounted(const std::string& device, const std::string& options,
                                       const std::vector<std::string>& program) {
    std::vector<std::string> argv = {"unshare",
                                     "--mount",
                                     "--propagation=slave",
                                     "--",
                                     "sh",
                                     "-c",
                                     R"(mount -t xfs -o "$1" -- "$2" "$3" && shift 3 && exec "$@")",
                                     "sh",
                                     options,
                                     device,
                                     kPlace};
    argv.insert(argv.end(), program.begin(), program.end());
    return argv;
}

// nouuid: the source, with the same identifier, may be mounted here.
constexpr const char* kOptions = "nouuid,nosuid,nodev,noexec,noatime";

}  // namespace

void grow_xfs(const GrowJob& job) {
    block::LentRange lent = job.lend(block::LentRange::Access::kWrite);
    job.run(while_mounted(lent.device(), kOptions, {"xfs_growfs", "-d", kPlace}));
    job.run({"blockdev", "--flushbufs", lent.device()});
    lent.give_back();
    job.check_medium({"xfs_repair", "-n"});
    job.expect_grown();
}

void refuse_unmountable_xfs(const CopyPlan& plan, const block::Reader& source) {
    constexpr std::uint64_t kRoom = 64 * kMiB;  // what mounting writes: parts of the log, superblocks
    // For reading alone the kernel takes features that it does not know. What it writes goes beside the
    // source, which may be a view that no kernel could be given.
    block::Overlay overlay(source, plan.grow->before, source.name(), kRoom);
    const block::LentFile file(overlay);
    const block::LentRange lent(file.path(), {0, plan.grow->before.size()}, {},
                                block::LentRange::Access::kWrite, plan.sector_bytes);
    const RunResult result = run_program(while_mounted(lent.device(), kOptions, {"true"}));
    if (result.status == 0) return;
    file.rethrow_error(block::LentFile::Program::kFailed);
    throw_error(Code::kUnsupported,
                "--grow mounts the copied XFS, which this kernel cannot do: {}; copy without --grow, and "
                "run xfs_growfs(8) on the target when it has started",
                result.complaint());
}

}  // namespace dupengine::engine
