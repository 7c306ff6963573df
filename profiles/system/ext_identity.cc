#include "profiles/system/ext_identity.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <array>

#include "base/fd.h"
#include "base/subprocess.h"
#include "layout/ext_super.h"

namespace dupengine::profiles {
namespace {

constexpr ByteOffset kSuperblock = 1024;
constexpr std::size_t kSuperblockBytes = 1024, kSectorBytes = 512;
constexpr std::size_t kLastMountedAt = 0x88;
constexpr std::string_view kMark = "dupengine-uuid:";
constexpr std::size_t kLastMountedBytes = 64, kUuidLength = 36;

// Rewriting the checksums of a large filesystem takes hours; to kill that half-way would only mean to begin
// again.
const RunOptions kPatient{.deadline = std::chrono::hours(7 * 24)};

// e2fsck(8): 0 nothing to do, 1 corrected, 2 corrected and the machine should be rebooted (a mounted root);
// from 4 on it failed.
void run_e2fsck(const char* how, const std::string& device, const std::string& name) {
    const RunResult result = run_program({"e2fsck", how, device}, kPatient);
    if (result.status >= 4)
        throw_error(Code::kIntegrity,
                    "{}: its file system is damaged: {}; run e2fsck -f on it, or duplicate the source again",
                    name, result.complaint());
}

void run_tune2fs(const std::vector<std::string>& words, const std::string& device, const std::string& name) {
    std::vector<std::string> argv = {"tune2fs"};
    argv.insert(argv.end(), words.begin(), words.end());
    argv.push_back(device);
    const RunResult result = run_program(argv, kPatient);
    if (result.status != 0) throw_error(Code::kTargetIo, "{}: tune2fs failed: {}", name, result.complaint());
}

std::string uuid_text(std::span<const std::byte> bytes) {
    const std::string hex = to_hex(bytes);
    return fmt::format("{}-{}-{}-{}-{}", hex.substr(0, 8), hex.substr(8, 4), hex.substr(12, 4),
                       hex.substr(16, 4), hex.substr(20));
}

// "dupengine-uuid:UUID:/" in place of what was there; what is too long for the field is cut.
std::string mark_for(const std::string& uuid, const std::string& last_mounted) {
    return (std::string(kMark) + uuid + ":" + last_mounted).substr(0, kLastMountedBytes - 1);
}

void read_mark(ExtState& state) {
    const std::string text = state.last_mounted;
    const std::size_t head = kMark.size() + kUuidLength + 1;
    state.was_cut = text.rfind(kMark, 0) == 0 && text.size() >= head;
    if (!state.was_cut) return;
    state.wanted_uuid = text.substr(kMark.size(), kUuidLength);
    state.last_mounted = text.substr(head);
}

enum class First { kText, kChecksum };

// The text is in the superblock's first sector and the checksum in its second, and each is on the disk before
// the other is written: whatever a cut leaves either fits, or has the mark. (tune2fs -M writes field by field
// and can leave a checksum that does not fit and no mark.) What the checksum was before is not asked: a
// tune2fs that was cut while it wrote the superblock leaves one that is neither the old nor the new.
void set_last_mounted(const std::string& device, const std::string& text, First first) {
    const Fd fd = open_path(device, O_RDWR, Code::kTargetIo);
    std::array<std::byte, kSuperblockBytes> superblock;
    pread_exact(fd.get(), kSuperblock, superblock, Code::kTargetIo, device);
    const auto field = std::span(superblock).subspan(kLastMountedAt, kLastMountedBytes);
    std::fill(field.begin(), field.end(), std::byte{0});
    std::ranges::copy(as_bytes(text), field.begin());
    layout::renew_ext_checksum(superblock);
    for (const bool second : {first == First::kChecksum, first == First::kText}) {
        const std::size_t at = second ? kSectorBytes : 0;
        pwrite_exact(fd.get(), kSuperblock + at, std::span(superblock).subspan(at, kSectorBytes),
                     Code::kTargetIo, device);
        if (::fsync(fd.get()) != 0) throw_errno(Code::kTargetIo, errno, "{}: flush failed", device);
    }
}

void rewrite_uuid(const std::string& device, const ExtState& state, const std::string& uuid,
                  const std::string& name) {
    set_last_mounted(device, mark_for(uuid, state.last_mounted), First::kText);
    run_tune2fs({"-U", uuid}, device, name);
    check_ext(device, name);
    set_last_mounted(device, state.last_mounted, First::kChecksum);
}

}  // namespace

ExtState read_ext_state(const block::Reader& part) {
    if (part.geometry().size_bytes < kSuperblock + kSuperblockBytes)
        throw_error(Code::kIntegrity, "{}: too small for a file system", part.name());
    const Bytes superblock = block::read_extent(part, {kSuperblock, kSuperblock + kSuperblockBytes});
    if (load_le<std::uint16_t>(superblock, 0x38) != 0xef53)
        throw_error(Code::kIntegrity, "{}: no ext4 superblock", part.name());
    const auto state_flags = load_le<std::uint16_t>(superblock, 0x3a);
    const auto compatible = load_le<std::uint32_t>(superblock, 0x5c),
               incompatible = load_le<std::uint32_t>(superblock, 0x60);
    const auto read_only_compatible = load_le<std::uint32_t>(superblock, 0x64);
    ExtState state;
    state.is_clean = (state_flags & 1) != 0 && (state_flags & 2) == 0 &&
                     (incompatible & 0x4) == 0;  // valid, no errors, no RECOVER
    state.uuid_is_fixed = (compatible & 0x800) != 0;
    state.full_check_first = (read_only_compatible & 0x400) != 0 && (incompatible & 0x2000) == 0;
    state.uuid = uuid_text(std::span(superblock).subspan(0x68, 16));
    const std::string_view field = as_text(std::span(superblock).subspan(kLastMountedAt, kLastMountedBytes));
    state.last_mounted = std::string(field.substr(0, std::min(field.find('\0'), field.size())));
    read_mark(state);
    return state;
}

void repair_ext(const std::string& device, const ExtState& state, const std::string& name) {
    if (state.was_cut)
        rewrite_uuid(device, state, state.wanted_uuid, name);
    else if (!state.is_clean)
        run_e2fsck("-p", device, name);
}

void check_ext(const std::string& device, const std::string& name) {
    run_e2fsck("-fp", device, name);
}

void set_ext_uuid(const std::string& device, const ExtState& state, const std::string& uuid,
                  const std::string& name) {
    if (state.uuid == uuid && !state.was_cut) return;
    // tune2fs wants a check that is younger than the last mount.
    if (state.full_check_first && !state.was_cut) check_ext(device, name);
    rewrite_uuid(device, state, uuid, name);
}

}  // namespace dupengine::profiles
