#include "image/chunk_list_writer.h"

namespace dupengine::image {
namespace {

// How many chunks of each list an extent set touches.
std::map<std::uint64_t, std::uint64_t> count_chunks(const block::ExtentSet& data, std::uint32_t chunk_bytes,
                                                    std::uint32_t chunks_per_list) {
    std::map<std::uint64_t, std::uint64_t> counts;
    std::uint64_t next = 0;  // the first chunk that is not counted yet
    for (block::Extent extent : data) {
        std::uint64_t chunk = std::max(next, extent.begin / chunk_bytes);
        const std::uint64_t end = (extent.end + chunk_bytes - 1) / chunk_bytes;
        while (chunk < end) {
            const std::uint64_t list = chunk / chunks_per_list;
            const std::uint64_t list_end = std::min(end, (list + 1) * chunks_per_list);
            counts[list] += list_end - chunk;
            chunk = list_end;
        }
        next = std::max(next, end);
    }
    return counts;
}

}  // namespace

ChunkListWriter::ChunkListWriter(const Manifest& manifest, const block::ExtentSet& data,
                                 const std::string& base)
    : chunk_bytes_(manifest.chunk_bytes),
      chunks_per_list_(manifest.chunks_per_list),
      expected_(count_chunks(data, chunk_bytes_, chunks_per_list_)),
      lists_file_(base + ".lists"),
      places_file_(base + ".places") {
    places_file_.append(encode_places_head({}));
}

void ChunkListWriter::put(std::uint64_t chunk, const codec::Sha256& digest, const Place& place) {
    const std::scoped_lock lock(mutex_);
    const std::uint64_t number = chunk / chunks_per_list_;
    const auto [at, is_new] = open_.try_emplace(number);
    Open& open = at->second;
    if (is_new) {
        open.list.digests.resize(chunks_per_list_);
        open.list.places.resize(chunks_per_list_);
        open.missing = expected_.at(number);
    }
    const std::size_t index = chunk % chunks_per_list_;
    open.list.digests[index] = digest;
    open.list.places[index] = place;
    if (--open.missing == 0) write_complete_ones();
}

// In the order of the disk, so that the same capture gives the same files.
void ChunkListWriter::write_complete_ones() {
    while (!expected_.empty()) {
        const auto at = open_.find(expected_.begin()->first);
        if (at == open_.end() || at->second.missing != 0) return;
        const EncodedList encoded = encode_list(at->second.list);
        lists_.push_back({at->first, lists_file_.size(), static_cast<std::uint32_t>(encoded.lists.size()),
                          encoded.sha256});
        lists_file_.append(encoded.lists);
        places_file_.append(encoded.places);
        open_.erase(at);
        expected_.erase(expected_.begin());
    }
}

std::vector<Manifest::List> ChunkListWriter::finish(const std::vector<PackId>& packs) {
    const std::scoped_lock lock(mutex_);
    if (!expected_.empty())
        throw_error(Code::kInternal, "an image is finished before all its chunks are there");
    places_file_.append(std::as_bytes(std::span(packs)));
    places_file_.replace(0, encode_places_head({static_cast<std::uint32_t>(packs.size()),
                                                lists_.size() * std::uint64_t{chunks_per_list_}}));
    lists_file_.commit();
    places_file_.commit();
    return std::move(lists_);
}

}  // namespace dupengine::image
