#pragma once
// Offsets and limits of a slot of a profile store (slots.h has the table), shared by reading, writing and
// efi/. Needs no library behind it.

#include <array>
#include <cstddef>
#include <cstdint>

namespace dupengine::profiles::slot {

inline constexpr std::array kMagic = {'D', 'U', 'P', 'E', 'N', 'G', 'I', 'N',
                                      'E', '-', 'S', 'L', 'O', 'T', '-', '1'};
inline constexpr std::uint32_t kVersion = 1;
inline constexpr std::uint32_t kBytes = 1u << 20;
inline constexpr std::uint32_t kPayloadOffset = 4096;
/// Of a slot in a variable of firmware, which ends with its text: every byte counts there.
inline constexpr std::uint32_t kShortPayloadOffset = 80;
inline constexpr std::uint32_t kSecretBytes = 32;
inline constexpr std::uint32_t kTextLimit = 512u << 10;

inline constexpr std::size_t kVersionAt = 16, kPayloadOffsetAt = 20, kGenerationAt = 24, kSecretSizeAt = 32,
                             kTextSizeAt = 36, kDigestAt = 40, kFlagsAt = 72, kChecksumAt = 76,
                             kHeaderEnd = 80;
static_assert(kShortPayloadOffset == kHeaderEnd);

/// The variables of firmware that are slot 0 and slot 1; the vendor is ours (dupengine-efi(8)).
inline constexpr std::array kVariables = {"DupengineProfileA", "DupengineProfileB"};

}  // namespace dupengine::profiles::slot
