// NTFS: ntfsresize, which refuses a volume that was not left in order.

#include "block/lent_file.h"
#include "engine/refit/shrink_programs.h"

namespace dupengine::engine {
namespace {

constexpr std::uint64_t kBootSectorBytes = 512;
constexpr std::size_t kSectorBytesAt = 11, kSectorCountAt = 40;  // of the boot sector

void must_succeed(const block::Overlay& part, const block::LentFile& file, const RunResult& result) {
    file.rethrow_error();
    if (result.status != 0)
        throw_error(Code::kRefused,
                    "{}: cannot be made smaller; start Windows, let it check the volume (chkdsk) and shut it "
                    "down fully: ntfsresize: {}",
                    part.name(), result.complaint());
}

// NTFS keeps a copy of its boot sector behind its last sector; ntfsresize writes none for a smaller volume.
void put_backup_boot_sector(block::Overlay& part, std::uint64_t size_bytes) {
    const Bytes boot = block::read_extent(part, {0, kBootSectorBytes});
    const std::uint64_t at = checked_mul(load_le<std::uint64_t>(boot, kSectorCountAt),
                                         load_le<std::uint16_t>(boot, kSectorBytesAt), "NTFS sectors");
    if (at >= size_bytes || size_bytes - at < kBootSectorBytes)
        throw_error(Code::kUnsupported, "{}: ntfsresize left a volume of {} bytes, of {} wanted", part.name(),
                    at, size_bytes);
    part.write(at, boot);
}

}  // namespace

std::uint64_t find_least_ntfs(block::Overlay& part, std::stop_token stop) {
    const block::LentFile file(part);
    const RunResult result = run_patiently({"ntfsresize", "--info", "--no-progress-bar", file.path()}, stop);
    must_succeed(part, file, result);
    // What it says is only the clusters in use; it may find that it needs a few more.
    return number_behind(result.out, "You might resize at", "ntfsresize") + kMiB;
}

void shrink_ntfs(block::Overlay& part, std::uint64_t size_bytes, std::stop_token stop) {
    {
        const block::LentFile file(part);
        // Twice: it does not ask. It refused in find_least_ntfs what it would have warned of.
        must_succeed(part, file,
                     run_patiently({"ntfsresize", "--force", "--force", "--no-progress-bar", "--size",
                                    std::to_string(size_bytes), file.path()},
                                   stop));
    }
    put_backup_boot_sector(part, size_bytes);
}

}  // namespace dupengine::engine
