#include "engine/grow.h"

#include <algorithm>

#include "base/subprocess.h"
#include "block/page_cache.h"
#include "engine/growers.h"
#include "layout/filesystem_size.h"

namespace dupengine::engine {
namespace {

struct Grower {
    std::string_view filesystem;
    void (*grow)(const GrowJob&);
    std::vector<const char*> programs;
    const char* packages;
};

const std::vector<Grower>& growers() {
    static const std::vector<const char*> kExt = {"e2fsck", "resize2fs", "blockdev"};
    static const char* const kExtPackages = "e2fsprogs, util-linux";
    static const std::vector<Grower> kGrowers = {
        {"ext2", grow_ext, kExt, kExtPackages},
        {"ext3", grow_ext, kExt, kExtPackages},
        {"ext4", grow_ext, kExt, kExtPackages},
        {"btrfs", grow_btrfs, {"btrfs"}, "btrfs-progs"},
        {"f2fs", grow_f2fs, {"resize.f2fs", "fsck.f2fs", "blockdev"}, "f2fs-tools, util-linux"},
        {"ntfs", grow_ntfs, {"ntfsresize", "blockdev"}, "ntfs-3g, util-linux"},
        {"vfat", grow_fat, {"fsck.fat"}, "dosfstools"},
        {"xfs",
         grow_xfs,
         {"xfs_growfs", "xfs_repair", "unshare", "mount", "blockdev"},
         "xfsprogs, mount, util-linux"},
    };
    return kGrowers;
}

const Grower& grower_of(const GrowStep& step) {
    for (const Grower& grower : growers())
        if (grower.filesystem == step.filesystem) return grower;
    throw_error(Code::kInternal, "{} was planned to grow, and nothing here can do it", step.filesystem);
}

void refuse_without(const char* program, const std::string& what, const char* packages) {
    if (!program_exists(program))
        throw_error(Code::kUnsupported, "--grow of {} needs the program {} (Debian packages {})", what,
                    program, packages);
}

// The disk that is open, whatever its path may lead to by now.
std::string path_of(const block::Reader& disk) {
    return fmt::format("/proc/self/fd/{}", disk.native_fd());
}

}  // namespace

block::LentRange GrowJob::lend(block::Extent range, block::LentRange::Access access) const {
    return {path_of(target_), range, plan_.protected_regions(), access, plan_.sector_bytes};
}

void GrowJob::run(const std::vector<std::string>& argv, int allowed_bits) const {
    RunOptions options;
    // Checking a large filesystem takes hours; only who started the copy may lose patience.
    options.deadline = std::chrono::hours(7 * 24);
    options.stop = stop_;
    const RunResult result = run_program(argv, options);
    if ((result.status & ~allowed_bits) != 0)
        throw_error(Code::kTargetIo, "growing the {}: {}: {}", step().filesystem, argv.front(),
                    result.complaint());
}

void GrowJob::expect_on_medium(ByteOffset offset, const codec::Sha256& digest, std::size_t size) const {
    Bytes there(size);
    target_.read_from_medium(offset, there);
    if (codec::sha256(there) != digest)
        throw_error(Code::kIntegrity,
                    "{}: what growing wrote at byte {} does not read back as it was written", target_.name(),
                    offset);
}

void GrowJob::check_medium(std::vector<std::string> argv) const {
    block::forget_cached(target_);
    const block::LentRange lent = lend(block::LentRange::Access::kRead);
    argv.push_back(lent.device());
    run(argv);
}

void GrowJob::expect_grown() const {
    const block::Extent place = step().after;
    const auto size =
        layout::read_filesystem_size(block::Window(target_, place, target_.name()), step().filesystem);
    if (size.bytes <= place.size() && place.size() - size.bytes < size.unit) return;
    throw_error(
        Code::kTargetIo,
        "growing the {}: its program reported no error, but the filesystem covers {} bytes of {}; copy "
        "without --grow",
        step().filesystem, size.bytes, place.size());
}

std::vector<Needs> needs_of_growing() {
    std::vector<Needs> needs;
    for (const Grower& grower : growers())
        needs.push_back({std::string(grower.filesystem), grower.programs, grower.packages});
    return needs;
}

bool can_grow(std::string_view filesystem) {
    return std::any_of(growers().begin(), growers().end(),
                       [&](const Grower& grower) { return grower.filesystem == filesystem; });
}

void refuse_if_growing_is_impossible(const CopyPlan& plan, const block::Reader& source,
                                     const block::Reader& target) {
    if (!plan.grow) return;
    const Grower& grower = grower_of(*plan.grow);
    for (const char* name : grower.programs)
        refuse_without(name, plan.grow->filesystem, grower.packages);
    if (plan.grow->swap)
        for (const char* name : {"mkswap", "blockdev"})
            refuse_without(name, "what is in front of swap", "util-linux");
    // Lending needs loop devices and the right to use them: better known now than after the copy.
    block::LentRange(path_of(target), plan.grow->after, plan.protected_regions(),
                     block::LentRange::Access::kRead, plan.sector_bytes);
    if (plan.grow->filesystem == "xfs") refuse_unmountable_xfs(plan, source);
}

void grow_filesystem(const CopyPlan& plan, block::Target& target, const std::stop_token& stop) {
    try {
        const GrowJob job(plan, target, stop);
        if (plan.grow->swap) make_moved_swap(job);
        grower_of(*plan.grow).grow(job);
    } catch (Error& e) {
        if (e.code() != Code::kInterrupted) throw;
        throw_error(Code::kInterrupted,
                    "stopped on request while the filesystem grew; run the same command again");
    }
}

}  // namespace dupengine::engine
