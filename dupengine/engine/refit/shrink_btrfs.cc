// btrfs: only its own driver makes it smaller, so it is mounted: in a mount namespace of its own, from a loop
// device over the overlay. A kernel that sees two devices with one filesystem identifier takes one for the
// other, and the source may be known to this one. So the filesystem gets another identifier for as long as a
// device shows it (btrfstune -m, which changes only the superblock), and its own again after that.

#include <algorithm>

#include "block/lend.h"
#include "block/lent_file.h"
#include "engine/refit/shrink_programs.h"
#include "layout/signature.h"

namespace dupengine::engine {
namespace {

void must_succeed(const block::Overlay& part, const block::LentFile& file, const std::string& program,
                  const RunResult& result) {
    if (result.status == 0) return file.rethrow_error(block::LentFile::Program::kSucceeded);
    file.rethrow_error(block::LentFile::Program::kFailed);
    throw_error(Code::kRefused, "{}: cannot be made smaller: {}: {}", part.name(), program,
                result.complaint());
}

std::string identifier_of(const block::Overlay& part) {
    const auto signature = layout::probe_signature(part);
    if (!signature || signature->type != "btrfs" || signature->uuid.empty())
        throw_error(Code::kRefused, "{}: its superblock is damaged", part.name());
    return signature->uuid;
}

// Runs `command` (of a shell) with the filesystem mounted on /tmp, which nobody else sees. It ends with us:
// then this process is no longer there to serve the file, and the mount gets errors from it.
RunResult run_mounted(const block::Overlay& part, const block::LentFile& file, const std::string& command,
                      const std::stop_token& stop) {
    block::LentRange loop(file.path(), {0, part.geometry().size_bytes}, block::ProtectedRegions(),
                          block::LentRange::Access::kWrite, part.geometry().logical_sector_bytes);
    const std::string script = fmt::format("mount -n -t btrfs \"$0\" /tmp && {} && umount -n /tmp", command);
    // In a process namespace too: with its first process all go, so that nothing keeps the mount.
    RunResult result = run_patiently({"unshare", "--mount", "--propagation", "slave", "--pid", "--fork",
                                      "--kill-child", "sh", "-c", script, loop.device()},
                                     stop);
    // Or the kernel remembers a filesystem that is gone.
    run_program({"btrfs", "device", "scan", "--forget", loop.device()});
    loop.give_back();
    return result;
}

// btrfstune takes no identifier that a device of this machine has, and the source has it: so it sees none.
void give_back_identifier(block::Overlay& part, const block::LentFile& file, const std::string& own,
                          const std::stop_token& stop) {
    must_succeed(part, file, "btrfstune",
                 run_patiently(
                     {"unshare", "--mount", "--propagation", "slave", "sh", "-c",
                      "mount -n -t tmpfs tmpfs /dev && exec btrfstune -f -M \"$0\" \"$1\"", own, file.path()},
                     stop, {"BLKID_FILE=/dev/no-cache"}));
    if (identifier_of(part) != own)
        throw_error(Code::kUnsupported, "{}: btrfstune did not give its identifier back", part.name());
}

void run_under_another_identifier(block::Overlay& part, const std::string& command,
                                  const std::stop_token& stop) {
    const block::LentFile file(part);
    const std::string own = identifier_of(part);
    must_succeed(part, file, "btrfstune", run_patiently({"btrfstune", "-f", "-m", file.path()}, stop));
    if (identifier_of(part) == own)
        throw_error(Code::kUnsupported, "{}: btrfstune did not change its identifier", part.name());
    must_succeed(part, file, command, run_mounted(part, file, command, stop));
    give_back_identifier(part, file, own, stop);
}

}  // namespace

// Not what min-dev-size says: it counts chunks, which the driver merges while it makes the device smaller.
std::uint64_t find_least_btrfs(block::Overlay& part, std::stop_token) {
    constexpr std::uint64_t kLeastOfDriver = 256 * kMiB;  // fs/btrfs/ioctl.c, btrfs_ioctl_resize
    constexpr std::uint64_t kToMerge = 64 * kMiB;         // chunks are written anew before the old ones go
    const std::uint64_t used = used_of_filesystem(layout::btrfs_used_extents(part));
    return std::max(kLeastOfDriver, used + used / 8 + kToMerge);
}

std::uint64_t shrink_btrfs(block::Overlay& part, std::uint64_t size_bytes, std::stop_token stop) {
    run_under_another_identifier(part, fmt::format("btrfs filesystem resize {} /tmp", size_bytes), stop);
    const block::LentFile file(part);
    must_succeed(part, file, "btrfs check", run_patiently({"btrfs", "check", file.path()}, stop));
    return size_bytes;
}

}  // namespace dupengine::engine
