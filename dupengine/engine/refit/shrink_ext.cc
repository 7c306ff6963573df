// ext2, ext3, ext4: e2fsck (which replays the journal) and resize2fs.

#include <algorithm>

#include "block/lent_file.h"
#include "engine/refit/shrink_programs.h"

namespace dupengine::engine {
namespace {

// Of the superblock (linux/fs/ext4/ext4.h): byte 1024 of the filesystem.
constexpr std::uint64_t kSuperAt = 1024, kSuperBytes = 1024;
constexpr std::size_t kMountTimeAt = 44, kWriteTimeAt = 48, kCheckTimeAt = 64;
// e2fsck's exit status is a set of bits (e2fsck(8)): 1 errors corrected, 2 reboot wanted; from 4 on, errors
// stay.
constexpr int kFsckCorrected = 3;

// The programs write what time it is. It is always the time of the last change: the same source gives the
// same bytes on every run. Never earlier, or e2fsck finds the filesystem to be from the future.
std::vector<std::string> time_of_last_change(const block::Overlay& part) {
    const Bytes super = block::read_extent(part, {kSuperAt, kSuperAt + kSuperBytes});
    std::uint32_t last = 1;
    for (const std::size_t at : {kMountTimeAt, kWriteTimeAt, kCheckTimeAt})
        last = std::max(last, load_le<std::uint32_t>(super, at));
    return {fmt::format("E2FSPROGS_FAKE_TIME={}", last), fmt::format("E2FSCK_TIME={}", last)};
}

// A group holds so many inodes: enough of them must be left for those in use.
std::uint64_t bytes_for_inodes(const block::Overlay& part) {
    constexpr std::size_t kInodesAt = 0, kFreeInodesAt = 16, kLogBlockSizeAt = 24, kBlocksPerGroupAt = 32,
                          kInodesPerGroupAt = 40;
    const Bytes super = block::read_extent(part, {kSuperAt, kSuperAt + kSuperBytes});
    const auto field = [&](std::size_t at) { return load_le<std::uint32_t>(super, at); };
    const std::uint32_t inodes = field(kInodesAt), free_inodes = field(kFreeInodesAt);
    const std::uint64_t per_group = field(kInodesPerGroupAt);
    if (free_inodes > inodes || per_group == 0 || field(kLogBlockSizeAt) > 6)
        throw_error(Code::kRefused, "{}: its superblock is damaged", part.name());
    const std::uint64_t groups = (inodes - free_inodes + per_group - 1) / per_group;
    return checked_mul(groups * field(kBlocksPerGroupAt), kKiB << field(kLogBlockSizeAt), "ext groups");
}

void check(block::Overlay& part, const block::LentFile& file, const std::stop_token& stop) {
    const RunResult result =
        run_patiently({"e2fsck", "-f", "-p", file.path()}, stop, time_of_last_change(part));
    if ((result.status & ~kFsckCorrected) == 0)
        return file.rethrow_error(block::LentFile::Program::kSucceeded);
    file.rethrow_error(block::LentFile::Program::kFailed);
    throw_error(Code::kRefused, "{}: is not in order, and cannot be made smaller; run e2fsck on it: {}",
                part.name(), result.complaint());
}

}  // namespace

std::uint64_t find_least_ext(block::Overlay& part, std::stop_token stop) {
    const block::LentFile file(part);
    check(part, file, stop);
    // Not what resize2fs -P says: it counts on the worst, and asks for twice what is needed.
    return std::max(used_of_filesystem(layout::ext_used_extents(part)), bytes_for_inodes(part));
}

std::uint64_t shrink_ext(block::Overlay& part, std::uint64_t size_bytes, std::stop_token stop) {
    const block::LentFile file(part);
    // Forced below what -P says. Where that is too little, it fails, and nothing but the overlay is lost.
    const RunResult result =
        run_patiently({"resize2fs", "-f", file.path(), fmt::format("{}K", size_bytes / kKiB)}, stop,
                      time_of_last_change(part));
    const bool succeeded = result.status == 0;
    file.rethrow_error(succeeded ? block::LentFile::Program::kSucceeded : block::LentFile::Program::kFailed);
    if (!succeeded) throw_error(Code::kRefused, "{}: resize2fs: {}", part.name(), result.complaint());
    check(part, file, stop);
    return layout::ext_used_extents(part).filesystem_bytes;
}

}  // namespace dupengine::engine
