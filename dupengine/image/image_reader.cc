#include "image/image_reader.h"

#include <algorithm>

#include "base/copy_bytes.h"
#include "block/transfers.h"
#include "codec/compression.h"

namespace dupengine::image {
namespace {

using block::Extent;

// What is read of a pack at once.
constexpr std::uint32_t kMostOfAPack = 4 * kMiB;

block::Geometry geometry_of(const Manifest& manifest) {
    block::Geometry geometry;
    geometry.size_bytes = manifest.size_bytes;
    geometry.logical_sector_bytes = geometry.physical_sector_bytes = manifest.sector_bytes;
    return geometry;
}

// A chunk from its stored form. False if it is not what its digest says.
bool unpack(const Place& place, std::span<const std::byte> stored, const codec::Sha256& digest,
            std::span<std::byte> chunk) {
    thread_local codec::Decompressor decompressor;
    if (!place.compressed)
        copy_bytes(stored, chunk);
    else if (!decompressor.decompress(stored, chunk))
        return false;
    return codec::sha256(chunk) == digest;
}

}  // namespace

// Chunks that follow each other on the disk and in their pack.
struct ImageReader::Run {
    std::uint64_t first = 0;
    std::vector<codec::Sha256> digests;
    std::vector<Place> places;

    bool goes_on_with(const Place& place) const {
        if (places.empty()) return true;
        const Place& last = places.back();
        return place.pack == last.pack && place.offset == last.offset + last.bytes &&
               place.offset + place.bytes - places.front().offset <= kMostOfAPack;
    }
};

ImageReader::ImageReader(const Files& files, Manifest manifest, std::string base, std::string name,
                         PackCache* cache)
    : map_(files, std::move(manifest), std::move(base)),
      name_(std::move(name)),
      geometry_(geometry_of(map_.manifest())),
      files_(files),
      kept_(cache),
      ahead_(files, map_, cache) {}

Extent ImageReader::extent_of(std::uint64_t chunk) const {
    const std::uint64_t size = manifest().chunk_bytes;
    return {chunk * size, std::min((chunk + 1) * size, geometry_.size_bytes)};
}

void ImageReader::read_run(const Run& run, std::span<std::byte> buffer) const {
    const std::size_t size = manifest().chunk_bytes;
    const Place& first = run.places.front();
    const Place& last = run.places.back();
    thread_local Bytes stored;
    stored.resize(last.offset + last.bytes - first.offset);
    files_.read(pack_file(map_.packs()[first.pack]), first.offset, stored);
    for (std::size_t i = 0; i < run.places.size(); ++i) {
        const Place& place = run.places[i];
        const auto from = std::span(stored).subspan(place.offset - first.offset, place.bytes);
        const PackId& pack = map_.packs()[place.pack];
        if (!unpack(place, from, run.digests[i], buffer.subspan(i * size, size)))
            throw_error(Code::kIntegrity, "{}: the chunk of {} is damaged, in {}", name_,
                        extent_of(run.first + i).text(), pack_file(pack));
        if (kept_ != nullptr) kept_->keep(pack, place.offset, from);
    }
}

bool ImageReader::take_from_cache(const Place& place, const codec::Sha256& digest,
                                  std::span<std::byte> chunk) const {
    if (kept_ == nullptr) return false;
    thread_local Bytes stored;
    stored.resize(place.bytes);
    return kept_->read(map_.packs()[place.pack], place.offset, stored) &&
           unpack(place, stored, digest, chunk);
}

// Whole chunks, the last one of the disk as well.
void ImageReader::read_chunks(std::uint64_t first, std::span<std::byte> buffer) const {
    const std::size_t size = manifest().chunk_bytes;
    const std::uint64_t count = buffer.size() / size;
    ahead_.tell(first, count);
    Run run;
    const auto finish_run = [&] {
        if (run.places.empty()) return;
        read_run(run, buffer.subspan((run.first - first) * size, run.places.size() * size));
        run = {};
    };
    std::shared_ptr<const ChunkList> list;
    std::optional<std::size_t> index;
    for (std::uint64_t chunk = first; chunk < first + count; ++chunk) {
        const std::size_t at = chunk % manifest().chunks_per_list;
        if (chunk == first || at == 0) {
            index = map_.list_of(chunk);
            list = index ? map_.list(*index) : nullptr;
        }
        if (list == nullptr || list->digests[at] == kZeroChunk) {
            std::ranges::fill(buffer.subspan((chunk - first) * size, size), std::byte{0});
            finish_run();
            continue;
        }
        const auto to = buffer.subspan((chunk - first) * size, size);
        if (take_from_cache(list->places[at], list->digests[at], to)) {
            finish_run();
            continue;
        }
        if (!run.goes_on_with(list->places[at])) finish_run();
        if (run.places.empty()) run.first = chunk;
        run.digests.push_back(list->digests[at]);
        run.places.push_back(list->places[at]);
    }
    finish_run();
}

std::shared_ptr<const Bytes> ImageReader::chunk_for_a_part(std::uint64_t chunk) const {
    {
        const std::scoped_lock lock(mutex_);
        for (auto at = cache_.begin(); at != cache_.end(); ++at)
            if (at->chunk == chunk) {
                cache_.splice(cache_.begin(), cache_, at);
                return at->bytes;
            }
    }
    Bytes bytes(manifest().chunk_bytes);
    read_chunks(chunk, bytes);
    auto shared = std::make_shared<const Bytes>(std::move(bytes));
    const std::scoped_lock lock(mutex_);
    cache_.push_front({chunk, shared});
    constexpr std::size_t kCacheBytes = 8 * kMiB;
    while (cache_.size() * manifest().chunk_bytes > kCacheBytes && cache_.size() > 1)
        cache_.pop_back();
    return shared;
}

void ImageReader::read(ByteOffset offset, std::span<std::byte> buffer) const {
    if (offset > geometry_.size_bytes || buffer.size() > geometry_.size_bytes - offset)
        throw_error(Code::kInternal, "{}: read of {} bytes at {} passes the end", name_, buffer.size(),
                    offset);
    const std::uint64_t size = manifest().chunk_bytes;
    ahead_.tell_lacking();
    std::size_t done = 0;
    while (done < buffer.size()) {
        const ByteOffset at = offset + done;
        const std::size_t left = buffer.size() - done;
        if (at % size == 0 && left >= size) {
            const std::size_t whole = align_down(left, size);
            read_chunks(at / size, buffer.subspan(done, whole));
            done += whole;
            continue;
        }
        const std::size_t part = std::min<std::size_t>(left, size - at % size);
        const auto chunk = chunk_for_a_part(at / size);
        copy_bytes(std::span(*chunk).subspan(at % size, part), buffer.subspan(done));
        done += part;
    }
}

void ImageReader::start_read(block::Transfers& transfers, std::uint64_t tag, ByteOffset offset,
                             std::span<std::byte> buffer, From) const {
    ahead_.reading(offset);
    read(offset, buffer);
    transfers.done(tag);
}

Extent ImageReader::next_data(Extent within) const {
    const std::uint64_t size = manifest().chunk_bytes;
    const std::uint64_t per_list = manifest().chunks_per_list;
    const std::uint64_t end = (within.end + size - 1) / size;
    std::optional<std::uint64_t> begin;  // of the data that was found
    std::uint64_t chunk = within.begin / size;
    std::shared_ptr<const ChunkList> list;
    std::uint64_t listed = ~std::uint64_t{0};
    while (chunk < end) {
        if (chunk / per_list != listed) {
            listed = chunk / per_list;
            const auto index = map_.list_of(chunk);
            list = index ? map_.list(*index) : nullptr;
        }
        const bool is_data = list != nullptr && list->digests[chunk % per_list] != kZeroChunk;
        if (is_data && !begin) begin = chunk;
        if (!is_data && begin) break;
        chunk = list == nullptr ? (listed + 1) * per_list : chunk + 1;
    }
    if (!begin) return {within.end, within.end};
    return Extent{*begin * size, chunk * size}.clipped_to(within);
}

bool ImageReader::holds(ByteOffset offset, std::span<const std::byte> bytes) const {
    const std::uint64_t chunk = offset / manifest().chunk_bytes;
    const auto index = map_.list_of(chunk);
    const codec::Sha256 digest =
        index ? map_.list(*index)->digests[chunk % manifest().chunks_per_list] : kZeroChunk;
    const bool is_held = digest == kZeroChunk ? is_zero(bytes) : codec::sha256(bytes) == digest;
    if (is_held)
        ahead_.spared();
    else
        ahead_.lacks(chunk);
    return is_held;
}

}  // namespace dupengine::image
