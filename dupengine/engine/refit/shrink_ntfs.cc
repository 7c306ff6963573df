// NTFS: ntfsresize, which refuses a volume that was not left in order.

#include <algorithm>
#include <bit>

#include "block/lent_file.h"
#include "engine/refit/shrink_programs.h"

namespace dupengine::engine {
namespace {

constexpr std::uint64_t kBootSectorBytes = 512;
constexpr std::size_t kSectorBytesAt = 11, kClusterSectorsAt = 13, kSectorCountAt = 40;  // of the boot sector

void must_succeed(const block::Overlay& part, const block::LentFile& file, const RunResult& result) {
    if (result.status == 0) return file.rethrow_error(block::LentFile::Program::kSucceeded);
    file.rethrow_error(block::LentFile::Program::kFailed);
    throw_error(Code::kRefused,
                "{}: cannot be made smaller; start Windows, let it check the volume (chkdsk) and shut it "
                "down fully: ntfsresize: {}",
                part.name(), result.complaint());
}

// NTFS keeps a copy of its boot sector behind the last sector that it counts, which is the last one of the
// partition. ntfsresize leaves a cluster for it, but counts no sector of that: what lies between would pass
// for data behind the filesystem. Returns where the copy ends.
std::uint64_t count_up_to_backup_boot_sector(block::Overlay& part, std::uint64_t size_bytes) {
    Bytes boot = block::read_extent(part, {0, kBootSectorBytes});
    const std::uint64_t sector_bytes = load_le<std::uint16_t>(boot, kSectorBytesAt);
    const unsigned code = load_le<std::uint8_t>(boot, kClusterSectorsAt);
    // A power of two; above 128 it is counted down from 256.
    constexpr unsigned kLargestShift = 12;
    const std::uint64_t in_cluster = code <= 128                   ? code
                                     : 256 - code <= kLargestShift ? std::uint64_t{1} << (256 - code)
                                                                   : 0;
    const std::uint64_t counted = load_le<std::uint64_t>(boot, kSectorCountAt);
    const std::uint64_t most = size_bytes / std::max(sector_bytes, kBootSectorBytes);
    if (!std::has_single_bit(in_cluster) || sector_bytes < kBootSectorBytes || counted > most ||
        in_cluster > most - align_down(counted, in_cluster))
        throw_error(Code::kUnsupported, "{}: ntfsresize left a volume of {} sectors in {} bytes", part.name(),
                    counted, size_bytes);
    const std::uint64_t last = align_down(counted, in_cluster) + in_cluster - 1;
    store_le<std::uint64_t>(boot, kSectorCountAt, last);
    part.write(0, boot);
    part.write(last * sector_bytes, boot);
    return (last + 1) * sector_bytes;
}

}  // namespace

std::uint64_t find_least_ntfs(block::Overlay& part, std::stop_token stop) {
    const block::LentFile file(part);
    const RunResult result = run_patiently({"ntfsresize", "--info", "--no-progress-bar", file.path()}, stop);
    must_succeed(part, file, result);
    // What it says is only the clusters in use; it may find that it needs a few more.
    return number_behind(result.out, "You might resize at", "ntfsresize") + kMiB;
}

std::uint64_t shrink_ntfs(block::Overlay& part, std::uint64_t size_bytes, std::stop_token stop) {
    {
        const block::LentFile file(part);
        // Twice: it does not ask. It refused in find_least_ntfs what it would have warned of.
        must_succeed(part, file,
                     run_patiently({"ntfsresize", "--force", "--force", "--no-progress-bar", "--size",
                                    std::to_string(size_bytes), file.path()},
                                   stop));
    }
    return count_up_to_backup_boot_sector(part, size_bytes);
}

}  // namespace dupengine::engine
