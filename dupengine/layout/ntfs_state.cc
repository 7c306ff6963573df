#include "layout/ntfs_state.h"

#include <algorithm>
#include <array>

namespace dupengine::layout {
namespace {

void check_volume(const NtfsFiles& files) {
    const NtfsStream information = files.plain_stream(NtfsFile::kVolume, NtfsType::kVolumeInformation);
    const unsigned major = load_le<std::uint8_t>(information.value, 8),
                   minor = load_le<std::uint8_t>(information.value, 9),
                   flags = load_le<std::uint16_t>(information.value, 10);
    if (major < 1 || major > 3 || (major == 3 && minor > 1))
        throw_error(Code::kIntegrity, "version {}.{} is not known", major, minor);
    constexpr unsigned kDirty = 0x0001, kResizeLog = 0x0002, kUpgrade = 0x0004, kCheckUnderWay = 0x4000;
    constexpr unsigned kHarmless =
        0x0008 | 0x0010 | 0x0020 | 0x8000;  // NT 4, journal, object ids, chkdsk was
    if ((flags & kDirty) != 0) throw_error(Code::kIntegrity, "not cleanly unmounted");
    if ((flags & kCheckUnderWay) != 0) throw_error(Code::kIntegrity, "chkdsk was at work on it");
    if ((flags & ~(kHarmless | kResizeLog | kUpgrade)) != 0)
        throw_error(Code::kIntegrity, "unknown volume flags {:#x}", flags);
}

// One of the two restart pages at the beginning of the log.
struct Restart {
    bool valid = false;
    std::uint64_t lsn = 0;
    bool closed = false;
    std::uint64_t page_bytes = 0;
};

Restart parse_restart(Bytes page) {
    Restart restart;
    const std::string magic(as_text(std::span(page).first(4)));
    if (magic != "RSTR" && magic != "CHKD") return restart;
    restart.page_bytes = load_le<std::uint32_t>(page, 16);
    if (restart.page_bytes < 4 * kKiB || restart.page_bytes > 64 * kKiB ||
        restart.page_bytes % (4 * kKiB) != 0)
        throw_error(Code::kIntegrity, "a log with pages of {} bytes", restart.page_bytes);
    // What is looked at lies in the first 512 bytes, whose last two are the fixup's.
    const std::size_t area = load_le<std::uint16_t>(page, 24);
    if (area % 8 != 0 || area + 16 > 510) throw_error(Code::kIntegrity, "a log with no restart area");
    restart.valid = true;
    restart.lsn = load_le<std::uint64_t>(page, area);
    const bool no_client = load_le<std::uint16_t>(page, area + 12) == 0xFFFF;
    const bool clean = (load_le<std::uint16_t>(page, area + 14) & 0x0002) != 0;
    restart.closed = no_client || clean;
    return restart;
}

NtfsLog check_log(const NtfsFiles& files) {
    const NtfsStream log = files.plain_stream(NtfsFile::kLog, NtfsType::kData);
    constexpr std::uint64_t kPage = 4 * kKiB;
    if (log.initialized_bytes < 2 * kPage)
        throw_error(Code::kIntegrity, "a log of {} bytes", log.initialized_bytes);
    const Bytes both = files.read(log, {0, 2 * kPage});
    if (std::all_of(both.begin(), both.end(), [](std::byte b) { return b == std::byte{0xFF}; }))
        return NtfsLog::kEmpty;
    const Restart first = parse_restart(files.read(log, {0, kPage}));
    const std::uint64_t second_at = first.valid ? first.page_bytes : kPage;
    if (second_at + kPage > log.initialized_bytes) throw_error(Code::kIntegrity, "its log is too small");
    const Restart second = parse_restart(files.read(log, {second_at, second_at + kPage}));
    if (!first.valid && !second.valid) throw_error(Code::kIntegrity, "its log has no restart page");
    const Restart& newest = !second.valid || (first.valid && first.lsn >= second.lsn) ? first : second;
    if (!newest.closed) throw_error(Code::kIntegrity, "not cleanly unmounted (its log was not closed)");
    return NtfsLog::kClosed;
}

bool is_hiberfil(std::span<const std::byte> file_name) {
    static constexpr std::string_view kName = "hiberfil.sys";
    if (load_le<std::uint8_t>(file_name, 64) != kName.size()) return false;
    for (std::size_t i = 0; i < kName.size(); ++i) {
        const unsigned unit = load_le<std::uint16_t>(file_name, 66 + 2 * i);
        const unsigned lower = unit >= 'A' && unit <= 'Z' ? unit + 32 : unit;
        if (lower != static_cast<unsigned char>(kName[i])) return false;
    }
    return true;
}

// The entries of one block of a directory, from its header on. All names are looked at: their order depends
// on the volume's own table of capital letters, and a root has few.
std::optional<std::uint64_t> find_in_node(std::span<const std::byte> node) {
    std::size_t at = load_le<std::uint32_t>(node, 0);
    const std::size_t end = load_le<std::uint32_t>(node, 4);
    if (end > node.size() || at > end) throw_error(Code::kIntegrity, "a directory block of {} bytes", end);
    while (at < end) {
        const auto entry = node.subspan(at, end - at);
        const std::size_t size = load_le<std::uint16_t>(entry, 8), key = load_le<std::uint16_t>(entry, 10);
        if (size < 16 || size % 8 != 0 || size > entry.size() || 16 + key > size)
            throw_error(Code::kIntegrity, "a directory entry of {} bytes", size);
        if ((load_le<std::uint16_t>(entry, 12) & 2) != 0) break;  // the last one has no name
        if (key >= 66 && is_hiberfil(entry.subspan(16, key)))
            return load_le<std::uint64_t>(entry, 0) & 0xFFFFFFFFFFFF;
        at += size;
    }
    return std::nullopt;
}

std::optional<std::uint64_t> find_hiberfil(const NtfsFiles& files) {
    const std::string name = ntfs_name("$I30");
    const NtfsStream root = files.plain_stream(NtfsFile::kRoot, NtfsType::kIndexRoot, name);
    if (root.value.size() < 32)
        throw_error(Code::kIntegrity, "a root directory of {} bytes", root.value.size());
    std::optional<std::uint64_t> found = find_in_node(std::span(root.value).subspan(16));
    const auto blocks = files.stream(NtfsFile::kRoot, NtfsType::kIndexAllocation, name);
    if (!blocks || found) return found;
    constexpr std::uint64_t kMostBytes = 64 * kMiB;
    if (blocks->data_bytes > kMostBytes)
        throw_error(Code::kIntegrity, "a root directory of {} bytes", blocks->data_bytes);
    const std::uint64_t step = files.volume().index_bytes;
    for (ByteOffset at = 0; at + step <= blocks->data_bytes && !found; at += step) {
        Bytes block = files.read(*blocks, {at, at + step});
        if (as_text(std::span(block).first(4)) != "INDX") continue;  // never been used
        undo_ntfs_fixups(block, "INDX");
        found = find_in_node(std::span(block).subspan(24));
    }
    return found;
}

// Windows holds the volume open in the memory that it wrote there, and will go on with it. After it has
// resumed the file says "wake", or nothing.
void check_not_hibernated(const NtfsFiles& files) {
    const auto number = find_hiberfil(files);
    if (!number) return;
    const auto content = files.stream(*number, NtfsType::kData);
    constexpr std::uint64_t kHeader = 4 * kKiB;
    constexpr std::array<std::string_view, 2> kResumed = {"wake", "WAKE"};
    const char* const kReason = "Windows is hibernated on it (hiberfil.sys)";
    if (!content || !content->plain) throw_error(Code::kIntegrity, "{}", kReason);
    if (content->initialized_bytes == 0) return;
    if (content->data_bytes < kHeader) throw_error(Code::kIntegrity, "{}", kReason);  // on another volume
    const Bytes header = files.read(*content, {0, kHeader});
    const std::string_view magic = as_text(std::span(header).first(4));
    const bool resumed = std::find(kResumed.begin(), kResumed.end(), magic) != kResumed.end();
    if (!resumed && !is_zero(header)) throw_error(Code::kIntegrity, "{}", kReason);
}

}  // namespace

NtfsLog check_ntfs_was_closed(const NtfsFiles& files) {
    check_volume(files);
    check_not_hibernated(files);  // before the log: it is the better reason
    return check_log(files);
}

}  // namespace dupengine::layout
