#include "bootloader_hooks/efi_keys.h"

#include <algorithm>

namespace dupengine::boot {
namespace {

// Offsets of the PE format, of which a program for UEFI is a PE32+: the COFF header behind "PE\0\0", the
// optional header behind that, in which data directory 4 is the certificate table.
constexpr std::size_t kHeaderOffsetAt = 0x3c, kOptionalHeader = 24, kDirectories = 112, kCertificates = 4;
constexpr std::uint32_t kPeMagic = 0x4550, kPe32Plus = 0x20b;

bool is_signed(std::span<const std::byte> program) {
    const std::uint64_t header = load_le<std::uint32_t>(program, kHeaderOffsetAt);
    const std::uint64_t optional = header + kOptionalHeader;
    if (load_le<std::uint32_t>(program, header) != kPeMagic ||
        load_le<std::uint16_t>(program, optional) != kPe32Plus)
        throw_error(Code::kUsage, "it is no program for UEFI firmware of 64 bits");
    return load_le<std::uint32_t>(program, optional + kDirectories + 8 * kCertificates + 4) != 0;
}

}  // namespace

Bytes with_keys(std::span<const std::byte> program, std::span<const PublicKey> trusted) {
    if (trusted.size() > keys::kMost)
        throw_error(Code::kRefused, "dupengine.efi has room for {} keys", keys::kMost);
    Bytes changed(program.begin(), program.end());
    const auto magic = std::as_bytes(std::span(keys::kMagic));
    const auto found = std::search(changed.begin(), changed.end(), magic.begin(), magic.end());
    const auto at = static_cast<std::size_t>(found - changed.begin());
    if (changed.size() - at < keys::kBytes)
        throw_error(Code::kUsage, "it is no dupengine.efi that can hold keys");
    if (is_signed(program))
        throw_error(
            Code::kRefused,
            "it is signed for Secure Boot already, which a change would break; put the keys in first");
    const auto section = std::span(changed).subspan(at, keys::kBytes);
    std::ranges::fill(section.subspan(keys::kCountAt), std::byte{0});
    store_le<std::uint32_t>(section, keys::kCountAt, static_cast<std::uint32_t>(trusted.size()));
    for (std::size_t i = 0; i < trusted.size(); ++i)
        std::ranges::copy(trusted[i],
                          section.begin() + static_cast<std::ptrdiff_t>(keys::kKeysAt + i * keys::kKeyBytes));
    return changed;
}

}  // namespace dupengine::boot
