#pragma once
// FILE.digests: what a raw disk image on a web server is held against, piece by piece, by whoever takes it
// without an operating system. Signed as any other file that firmware reads, it vouches for the whole image.
// Shared by efi/, which reads it, and piece_digests.cc, which makes it. Needs no library behind it. Integers
// are little-endian:
//
//      0  16  magic "DUPENGINE-PIECES"
//     16   4  format version, 1
//     20   4  bytes of a piece
//     24   8  bytes of the image
//     32  32  SHA-256 of each piece, in order; the last one may be shorter

#include <array>
#include <cstddef>
#include <cstdint>

namespace dupengine::boot::pieces {

inline constexpr char kFileSuffix[] = ".digests";
inline constexpr std::array kMagic = {'D', 'U', 'P', 'E', 'N', 'G', 'I', 'N',
                                      'E', '-', 'P', 'I', 'E', 'C', 'E', 'S'};
inline constexpr std::uint32_t kVersion = 1, kPieceBytes = 1024 * 1024;
inline constexpr std::size_t kVersionAt = 16, kPieceBytesAt = 20, kImageBytesAt = 24, kDigestsAt = 32,
                             kDigestBytes = 32;

/// How many pieces an image of so many bytes has.
constexpr std::uint64_t count(std::uint64_t image_bytes) {
    return image_bytes / kPieceBytes + (image_bytes % kPieceBytes != 0 ? 1 : 0);
}

}  // namespace dupengine::boot::pieces
