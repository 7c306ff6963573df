#include "image/streamed_image.h"

namespace dupengine::image {

using block::Extent;

void StreamedImage::read(ByteOffset offset, std::span<std::byte> buffer) const {
    image_.read(offset, buffer);
    done({offset, offset + buffer.size()});
}

void StreamedImage::expect(const block::ExtentSet& data) const {
    // What comes up to the index is for all of the time.
    static_cast<void>(files_.size_of(kStoreFile));
    const std::scoped_lock lock(mutex_);
    expected_ = data;
}

bool StreamedImage::holds(ByteOffset offset, std::span<const std::byte> bytes) const {
    const bool same = image_.holds(offset, bytes);
    if (same) done({offset, offset + bytes.size()});
    return same;
}

// Whether nothing that is expected of a chunk is missing any more.
bool StreamedImage::is_last_of(std::uint64_t chunk, Extent extent) const {
    const std::uint64_t size = image_.known_piece_bytes();
    const Extent whole{chunk * size, (chunk + 1) * size};
    const std::scoped_lock lock(mutex_);
    if (!expected_) return false;
    const auto at = missing_.find(chunk);
    block::ExtentSet rest = at != missing_.end() ? at->second : expected_->clipped_to(whole);
    rest.erase(extent);
    const bool is_last = rest.empty();
    if (is_last && at != missing_.end()) missing_.erase(at);
    if (!is_last) missing_[chunk] = std::move(rest);
    return is_last;
}

void StreamedImage::done(Extent extent) const {
    const ChunkMap& map = image_.map();
    const std::uint64_t size = image_.known_piece_bytes();
    for (std::uint64_t chunk = extent.begin / size; chunk * size < extent.end; ++chunk) {
        const auto index = map.list_of(chunk);
        if (!index || !is_last_of(chunk, extent)) continue;
        const auto list = map.list(*index);
        const std::size_t at = chunk % map.manifest().chunks_per_list;
        if (list->digests[at] == kZeroChunk) continue;
        const Place& place = list->places[at];
        files_.forget(pack_file(map.packs()[place.pack]), {place.offset, place.offset + place.bytes});
    }
}

}  // namespace dupengine::image
