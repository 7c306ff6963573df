#pragma once
// Offsets and limits of the GPT format (UEFI 2.10, tables 5-5 and 5-6), shared by reading, encoding
// and efi/. Needs no library behind it. Private.

#include <array>
#include <cstddef>
#include <cstdint>

namespace dupengine::layout::gpt {

inline constexpr std::array kSignature = {'E', 'F', 'I', ' ', 'P', 'A', 'R', 'T'};
inline constexpr std::uint32_t kRevision = 0x00010000;
inline constexpr std::uint64_t kPrimaryLba = 1;
inline constexpr std::uint32_t kHeaderBytes = 92;

namespace header {
inline constexpr std::size_t kRevisionAt = 8, kSizeAt = 12, kCrcAt = 16, kMyLbaAt = 24, kAlternateLbaAt = 32,
                             kFirstUsableAt = 40, kLastUsableAt = 48, kDiskGuidAt = 56, kEntriesLbaAt = 72,
                             kEntryCountAt = 80, kEntryBytesAt = 84, kEntriesCrcAt = 88;
}

namespace entry {
inline constexpr std::size_t kTypeAt = 0, kGuidAt = 16, kFirstLbaAt = 32, kLastLbaAt = 40, kAttributesAt = 48,
                             kNameAt = 56, kNameBytes = 72;
}

// More is allowed by the standard and made by no tool; a bound keeps a hostile disk from choosing our memory.
inline constexpr std::uint32_t kMinEntryBytes = 128;
inline constexpr std::uint32_t kMaxEntryCount = 1024;
inline constexpr std::uint32_t kMaxArrayBytes = 1u << 20;

/// 128 times a power of two.
constexpr bool is_entry_size(std::uint32_t bytes) {
    return bytes >= kMinEntryBytes && (bytes & (bytes - 1)) == 0;
}

}  // namespace dupengine::layout::gpt
