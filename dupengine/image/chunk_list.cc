#include "image/chunk_list.h"

#include <algorithm>

#include "base/copy_bytes.h"
#include "codec/compression.h"

namespace dupengine::image {
namespace {

constexpr std::string_view kMagic = "DUPPLACE";
constexpr std::uint32_t kVersion = 1;
constexpr std::uint32_t kCompressed = 0x80000000u;
// A pack holds 16 MiB, a disk at most 256 TiB; and none is named that no place is in.
constexpr std::uint32_t kMostPacks = 1u << 24;

std::vector<PackId> read_packs(const Files& files, const std::string& file, std::uint64_t expected_places) {
    Bytes head(PlacesHead::kBytes);
    files.read(file, 0, head);
    const auto count = load_le<std::uint32_t>(head, 12);
    if (as_text(head).substr(0, kMagic.size()) != kMagic || load_le<std::uint32_t>(head, 8) != kVersion ||
        load_le<std::uint64_t>(head, 16) != expected_places ||
        count > std::min<std::uint64_t>(kMostPacks, expected_places))
        throw_error(Code::kIntegrity, "{}: {} does not belong to its manifest", files.name(), file);
    // What it promises has to be there, before memory is given to it.
    const ByteOffset packs_begin = PlacesHead::kBytes + expected_places * kPlaceBytes;
    const auto size = files.size_of(file);
    if (!size || *size != packs_begin + std::uint64_t{count} * sizeof(PackId))
        throw_error(Code::kIntegrity, "{}: {} is cut off", files.name(), file);
    std::vector<PackId> packs(count);
    files.read(file, packs_begin, std::as_writable_bytes(std::span(packs)));
    return packs;
}

}  // namespace

std::string pack_file(const PackId& pack) {
    return "packs/" + to_hex(pack) + ".pack";
}

Bytes encode_places_head(const PlacesHead& head) {
    Bytes bytes(PlacesHead::kBytes);
    std::ranges::copy(as_bytes(kMagic), bytes.begin());
    store_le<std::uint32_t>(bytes, 8, kVersion);
    store_le<std::uint32_t>(bytes, 12, head.packs);
    store_le<std::uint64_t>(bytes, 16, head.places);
    return bytes;
}

void encode_place(std::span<std::byte> at, const Place& place) {
    store_le<std::uint32_t>(at, 0, place.pack);
    store_le<std::uint32_t>(at, 4, place.offset);
    store_le<std::uint32_t>(at, 8, place.bytes | (place.compressed ? kCompressed : 0));
}

Place decode_place(std::span<const std::byte> at) {
    const auto bytes = load_le<std::uint32_t>(at, 8);
    return {load_le<std::uint32_t>(at, 0), load_le<std::uint32_t>(at, 4), bytes & ~kCompressed,
            (bytes & kCompressed) != 0};
}

EncodedList encode_list(const ChunkList& list) {
    constexpr int kLevel = 3;
    codec::Compressor compressor(kLevel);
    const auto digests = std::as_bytes(std::span(list.digests));
    const auto compressed = compressor.compress(digests);
    const auto stored = compressed.empty() ? digests : compressed;
    EncodedList encoded{{stored.begin(), stored.end()}, codec::sha256(digests), {}};
    encoded.places.resize(list.places.size() * kPlaceBytes);
    for (std::size_t i = 0; i < list.places.size(); ++i)
        encode_place(std::span(encoded.places).subspan(i * kPlaceBytes, kPlaceBytes), list.places[i]);
    return encoded;
}

ChunkMap::ChunkMap(const Files& files, Manifest manifest, std::string base)
    : files_(files),
      manifest_(std::move(manifest)),
      base_(std::move(base)),
      packs_(read_packs(files, base_ + ".places",
                        manifest_.lists.size() * std::uint64_t{manifest_.chunks_per_list})) {}

std::uint64_t ChunkMap::chunk_count() const {
    return (manifest_.size_bytes + manifest_.chunk_bytes - 1) / manifest_.chunk_bytes;
}

std::optional<std::size_t> ChunkMap::list_of(std::uint64_t chunk) const {
    const std::uint64_t number = chunk / manifest_.chunks_per_list;
    const auto at = std::ranges::lower_bound(manifest_.lists, number, {}, &Manifest::List::number);
    if (at == manifest_.lists.end() || at->number != number) return std::nullopt;
    return static_cast<std::size_t>(at - manifest_.lists.begin());
}

std::shared_ptr<const ChunkList> ChunkMap::list(std::size_t index) const {
    const std::scoped_lock lock(mutex_);
    for (auto at = cache_.begin(); at != cache_.end(); ++at)
        if (at->index == index) {
            cache_.splice(cache_.begin(), cache_, at);
            return at->list;
        }
    // Lists are read one after another: the way to the next ones need not be waited for.
    for (std::size_t next = index + 1; next <= index + 2 && next < manifest_.lists.size(); ++next)
        announce(next);
    cache_.push_front({index, std::make_shared<const ChunkList>(read_list(index))});
    constexpr std::size_t kMostCached = 3;
    if (cache_.size() > kMostCached) cache_.pop_back();
    return cache_.front().list;
}

ByteOffset ChunkMap::places_of(std::size_t index) const {
    return PlacesHead::kBytes + index * std::uint64_t{manifest_.chunks_per_list} * kPlaceBytes;
}

void ChunkMap::announce(std::size_t index) const {
    const Manifest::List& wanted = manifest_.lists[index];
    files_.will_read(base_ + ".lists", wanted.offset, wanted.bytes);
    files_.will_read(base_ + ".places", places_of(index), manifest_.chunks_per_list * kPlaceBytes);
}

ChunkList ChunkMap::read_list(std::size_t index) const {
    const Manifest::List& wanted = manifest_.lists.at(index);
    const std::string file = base_ + ".lists";
    const std::size_t count = manifest_.chunks_per_list;
    Bytes compressed(wanted.bytes);
    files_.read(file, wanted.offset, compressed);
    ChunkList list;
    list.digests.resize(count);
    const auto digests = std::as_writable_bytes(std::span(list.digests));
    // The compressor leaves bytes as they are where compressing them saves nothing.
    if (compressed.size() == digests.size())
        copy_bytes(compressed, digests);
    else if (!codec::Decompressor().decompress(compressed, digests))
        throw_error(Code::kIntegrity, "{}: {} is damaged", files_.name(), file);
    if (codec::sha256(digests) != wanted.sha256)
        throw_error(Code::kIntegrity, "{}: {} is not what its manifest says", files_.name(), file);

    Bytes places(count * kPlaceBytes);
    files_.read(base_ + ".places", places_of(index), places);
    list.places.reserve(count);
    for (std::size_t i = 0; i < count; ++i) {
        const Place place = decode_place(std::span(places).subspan(i * kPlaceBytes, kPlaceBytes));
        const bool is_stored = list.digests[i] != kZeroChunk;
        if (is_stored &&
            (place.bytes == 0 || place.pack >= packs_.size() || place.bytes > manifest_.chunk_bytes ||
             (!place.compressed && place.bytes != manifest_.chunk_bytes)))
            throw_error(Code::kIntegrity, "{}: {}.places is damaged", files_.name(), base_);
        list.places.push_back(place);
    }
    return list;
}

}  // namespace dupengine::image
