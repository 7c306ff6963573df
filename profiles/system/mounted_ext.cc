#include "profiles/system/mounted_ext.h"

#include <fcntl.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>

#include "base/fd.h"
#include "base/guid.h"

namespace dupengine::profiles {
namespace {

constexpr std::size_t kUuidBytes = 16;

// As in the kernel's include/uapi/linux/ext4.h, which Debian 12's headers do not have; there the UUID is an
// array of no fixed length, and so the number of the request is made from the first two fields.
struct UuidHead {
    std::uint32_t length, flags;
};
struct UuidRequest {
    UuidHead head;
    std::array<std::byte, kUuidBytes> uuid;
};
constexpr unsigned long kGetUuid = _IOR('f', 44, UuidHead), kSetUuid = _IOW('f', 44, UuidHead);

// ioctl(2) wants more than an O_PATH descriptor.
Fd opened(int folder) {
    return Fd(::openat(folder, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
}

std::string text_of(const std::array<std::byte, kUuidBytes>& uuid) {
    const std::string hex = to_hex(uuid);
    return fmt::format("{}-{}-{}-{}-{}", hex.substr(0, 8), hex.substr(8, 4), hex.substr(12, 4),
                       hex.substr(16, 4), hex.substr(20));
}

}  // namespace

std::optional<std::string> mounted_ext_uuid(int folder) {
    const Fd fd = opened(folder);
    UuidRequest request{{kUuidBytes, 0}, {}};
    if (!fd.valid() || ::ioctl(fd.get(), kGetUuid, &request) != 0 || request.head.length != kUuidBytes)
        return std::nullopt;
    return text_of(request.uuid);
}

std::string why_mounted_uuid_is_fixed(const block::Reader& part, int folder) {
    constexpr ByteOffset kSuperblock = 1024;
    constexpr std::uint32_t kStableInodes = 0x800, kChecksumSeed = 0x2000;     // compatible, incompatible
    constexpr std::uint32_t kGroupChecksum = 0x10, kMetadataChecksum = 0x400;  // read-only compatible
    const Bytes superblock = block::read_extent(part, {kSuperblock, kSuperblock + 1024});
    const auto has = [&](std::size_t at, std::uint32_t feature) {
        return (load_le<std::uint32_t>(superblock, at) & feature) != 0;
    };
    if (has(0x5c, kStableInodes)) return "its encrypted files are bound to the UUID (stable_inodes)";
    const bool checksums = has(0x64, kGroupChecksum) || has(0x64, kMetadataChecksum);
    if (checksums && !has(0x60, kChecksumSeed))
        return "its checksums are made with the UUID, so no kernel changes it while it is mounted (dupengine "
               "assume --disk does while the system does not run; tune2fs -O metadata_csum_seed makes it "
               "possible, if the boot loader can read that)";
    if (!mounted_ext_uuid(folder))
        return "this kernel cannot change the UUID of a mounted file system (Linux 6.0 can)";
    return {};
}

void set_mounted_ext_uuid(int folder, const std::string& uuid, const std::string& name) {
    if (mounted_ext_uuid(folder) == uuid) return;
    UuidRequest request{{kUuidBytes, 0}, {}};
    std::string digits = uuid;
    std::erase(digits, '-');
    const Bytes bytes = from_hex(digits);
    if (bytes.size() != kUuidBytes) throw_error(Code::kInternal, "'{}' is no UUID", uuid);
    std::copy(bytes.begin(), bytes.end(), request.uuid.begin());
    const Fd fd = opened(folder);
    if (!fd.valid() || ::ioctl(fd.get(), kSetUuid, &request) != 0)
        throw_errno(Code::kTargetIo, errno, "{}: the kernel does not change its UUID", name);
    if (::syncfs(fd.get()) != 0) throw_errno(Code::kTargetIo, errno, "{}: flush failed", name);
    const auto now = mounted_ext_uuid(folder);
    if (now != uuid)
        throw_error(Code::kIntegrity, "{}: its UUID is {} after it was set to {}", name,
                    now.value_or("unknown"), uuid);
}

}  // namespace dupengine::profiles
