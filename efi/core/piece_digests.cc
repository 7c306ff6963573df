#include "efi/core/piece_digests.h"

#include "bootloader_hooks/piece_digests_format.h"
#include "efi/core/sha256.h"

namespace dupengine::efi {

namespace pieces = boot::pieces;

std::size_t PieceDigests::bytes_of(std::uint64_t piece) const {
    const std::uint64_t left = image_bytes - piece * pieces::kPieceBytes;
    return left < pieces::kPieceBytes ? left : pieces::kPieceBytes;
}

bool PieceDigests::hold(std::uint64_t piece, Bytes bytes) const {
    return piece < pieces::count(image_bytes) && bytes.size() == bytes_of(piece) &&
           equal(sha256(bytes), digests.subspan(piece * pieces::kDigestBytes, pieces::kDigestBytes));
}

TextView read_piece_digests(Bytes content, PieceDigests& into) {
    // Disks of this size end far before their digests do not fit into 64 bits.
    constexpr std::uint64_t kLargestImage = std::uint64_t{1} << 50;
    if (content.size() < pieces::kDigestsAt ||
        !equal(content.first(pieces::kMagic.size()), std::as_bytes(std::span(pieces::kMagic))))
        return "that is no list of digests";
    if (load_le<std::uint32_t>(content, pieces::kVersionAt) != pieces::kVersion ||
        load_le<std::uint32_t>(content, pieces::kPieceBytesAt) != pieces::kPieceBytes)
        return "its digests are of another version";
    into.image_bytes = load_le<std::uint64_t>(content, pieces::kImageBytesAt);
    into.digests = content.subspan(pieces::kDigestsAt);
    if (into.image_bytes == 0 || into.image_bytes > kLargestImage ||
        into.digests.size() != pieces::count(into.image_bytes) * pieces::kDigestBytes)
        return "its digests are damaged";
    return {};
}

}  // namespace dupengine::efi
