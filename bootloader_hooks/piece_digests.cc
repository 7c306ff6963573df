#include "bootloader_hooks/piece_digests.h"

#include <algorithm>

#include "base/aligned_buffer.h"
#include "bootloader_hooks/piece_digests_format.h"
#include "codec/digest.h"

namespace dupengine::boot {

Bytes make_piece_digests(const block::Reader& image, const std::stop_token& stop) {
    const std::uint64_t size = image.geometry().size_bytes;
    Bytes made(pieces::kDigestsAt + pieces::count(size) * pieces::kDigestBytes);
    std::ranges::copy(std::as_bytes(std::span(pieces::kMagic)), made.begin());
    store_le<std::uint32_t>(made, pieces::kVersionAt, pieces::kVersion);
    store_le<std::uint32_t>(made, pieces::kPieceBytesAt, pieces::kPieceBytes);
    store_le<std::uint64_t>(made, pieces::kImageBytesAt, size);
    AlignedBuffer buffer(pieces::kPieceBytes);
    auto into = made.begin() + pieces::kDigestsAt;
    for (ByteOffset at = 0; at < size; at += pieces::kPieceBytes) {
        if (stop.stop_requested())
            throw_error(Code::kInterrupted, "stopped on request while {} was read", image.name());
        const auto piece = buffer.first(std::min<std::uint64_t>(pieces::kPieceBytes, size - at));
        image.read(at, piece);
        into = std::ranges::copy(codec::sha256(piece), into).out;
    }
    return made;
}

}  // namespace dupengine::boot
