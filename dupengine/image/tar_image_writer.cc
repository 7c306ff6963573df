#include "image/tar_image_writer.h"

#include <algorithm>
#include <numeric>

#include "base/units.h"
#include "image/stored_form.h"
#include "image/tar_pack_writer.h"

namespace dupengine::image {
namespace {

Manifest complete(Manifest draft) {
    draft.version = std::max<std::uint64_t>(draft.version, 1);
    draft.chunk_bytes = kChunkBytes;
    draft.chunks_per_list = choose_chunks_per_list(draft.size_bytes);
    return draft;
}

void add_scratch(TarWriter& tar, const block::ScratchFile& file, std::uint64_t size_bytes) {
    Bytes buffer(kMiB);
    for (ByteOffset at = 0; at < size_bytes; at += buffer.size()) {
        const auto part = std::span(buffer).first(std::min<std::uint64_t>(buffer.size(), size_bytes - at));
        file.read(at, part);
        tar.append(part);
    }
}

}  // namespace

TarImageWriter::TarImageWriter(Manifest draft, const block::ExtentSet& data, block::ExtentSet first,
                               std::size_t most_known)
    : manifest_(complete(std::move(draft))),
      first_(std::move(first)),
      most_known_(most_known),
      records_(data, kChunkBytes),
      lists_("the digests of the image"),
      places_("the places of its chunks") {}

void TarImageWriter::put(std::uint64_t chunk, std::span<const std::byte> bytes) {
    if (is_zero(bytes)) return;  // as its record is
    const StoredForm stored = stored_form(bytes);
    ChunkRecord record;
    record.sha256 = codec::sha256(bytes);
    record.bytes = static_cast<std::uint32_t>(stored.bytes.size());
    record.compressed = stored.compressed;
    records_.put(chunk, record);
    data_bytes_ += bytes.size();
}

bool TarImageWriter::stands_first(std::uint64_t chunk) const {
    return first_.touches({chunk * kChunkBytes, (chunk + 1) * kChunkBytes});
}

// Of chunks that are the same the first one on the disk is stored, in front: whoever reads from a pipe keeps
// what stands there. Of more chunks than KnownChunks has room for, some are stored twice.
void TarImageWriter::find_repeats() {
    KnownChunks known(most_known_);
    records_.for_each([&](std::uint64_t chunk, ChunkRecord& record) {
        if (record.is_zero()) return;
        record.comes_first = stands_first(chunk);
        const KnownChunks::Location* at = known.find(record.sha256);
        if (at == nullptr)
            return known.insert(record.sha256,
                                {static_cast<std::uint32_t>(chunk >> 32), static_cast<std::uint32_t>(chunk)});
        const std::uint64_t earlier = std::uint64_t{at->pack} << 32 | at->entry;
        ChunkRecord same = records_.get(earlier);
        if (same.sha256 != record.sha256) return;  // half of the digest is, by chance
        same.comes_first = true;
        records_.replace(earlier, same);
        record.repeat(earlier);
        shared_bytes_ += kChunkBytes;
    });
}

void TarImageWriter::place(bool those_first) {
    std::vector<PackEntry> entries;
    std::uint32_t gap = 0, end = 0;
    const auto begin_pack = [&] {
        const auto at = gaps_.find(packs_.size());
        gap = at == gaps_.end() ? 0 : at->second;
        end = PackBuilder::kBegin + gap;
    };
    const auto end_pack = [&] {
        if (entries.empty()) return;
        packs_.push_back(pack_id_of(entries));
        entries.clear();
        begin_pack();
    };
    begin_pack();
    records_.for_each([&](std::uint64_t, ChunkRecord& record) {
        if (record.is_zero() || record.repeats || record.comes_first != those_first) return;
        record.pack = static_cast<std::uint32_t>(packs_.size());
        record.offset = end;
        entries.push_back({record.sha256, end, record.bytes, record.compressed});
        end += record.bytes;
        if (PackBuilder::is_full(end - gap, entries.size())) end_pack();
    });
    end_pack();
}

// Packs are known by what is in them, and where chunks are stored again a whole pack of them may be one that
// was there before. False if there is none.
bool TarImageWriter::find_twins() {
    std::vector<std::uint32_t> order(packs_.size());
    std::iota(order.begin(), order.end(), 0u);
    std::ranges::stable_sort(order, {}, [&](std::uint32_t pack) { return packs_[pack]; });
    std::uint32_t gap = 0;
    for (std::size_t i = 1; i < order.size(); ++i) {
        gap = packs_[order[i]] == packs_[order[i - 1]] ? gap + 1 : 0;
        if (gap > kMiB)
            throw_error(Code::kUnsupported, "{} holds the same {} more than a million times; a tar cannot",
                        manifest_.source, format_size(PackBuilder::kFullBytes));
        if (gap != 0) gaps_.emplace(order[i], gap);
    }
    return !gaps_.empty();
}

// Twins are told apart by where their first chunk stands; nothing else of the places changes by that.
void TarImageWriter::place_all() {
    do {
        packs_.clear();
        place(true);
        place(false);
    } while (gaps_.empty() && find_twins());
}

void TarImageWriter::end_list(std::uint64_t number, const ChunkList& list) {
    if (list.digests.empty()) return;
    const EncodedList encoded = encode_list(list);
    manifest_.lists.push_back(
        {number, lists_bytes_, static_cast<std::uint32_t>(encoded.lists.size()), encoded.sha256});
    lists_.write(lists_bytes_, encoded.lists);
    lists_bytes_ += encoded.lists.size();
    places_.write(places_bytes_, encoded.places);
    places_bytes_ += encoded.places.size();
}

void TarImageWriter::encode_lists() {
    ChunkList list;
    std::uint64_t number = 0;
    records_.for_each([&](std::uint64_t chunk, ChunkRecord& record) {
        if (record.is_zero()) return;
        if (list.digests.empty() || chunk / manifest_.chunks_per_list != number) {
            end_list(number, list);
            number = chunk / manifest_.chunks_per_list;
            list.digests.assign(manifest_.chunks_per_list, kZeroChunk);
            list.places.assign(manifest_.chunks_per_list, {});
        }
        const ChunkRecord stored = record.repeats ? records_.get(record.repeated()) : record;
        const std::size_t at = chunk % manifest_.chunks_per_list;
        list.digests[at] = stored.sha256;
        list.places[at] = {stored.pack, stored.offset, stored.bytes, stored.compressed};
    });
    end_list(number, list);
}

void TarImageWriter::write_lists(TarWriter& tar) const {
    const std::string base = StoredImage{manifest_.name, manifest_.version}.base();
    tar.begin(base + ".lists", lists_bytes_);
    add_scratch(tar, lists_, lists_bytes_);
    const auto packs = std::as_bytes(std::span(packs_));
    tar.begin(base + ".places", PlacesHead::kBytes + places_bytes_ + packs.size());
    tar.append(encode_places_head({static_cast<std::uint32_t>(packs_.size()), places_bytes_ / kPlaceBytes}));
    add_scratch(tar, places_, places_bytes_);
    tar.append(packs);
}

void TarImageWriter::write_packs(bool those_first, const ReadChunks& read, TarWriter& tar) {
    TarPackWriter packs(read, tar, std::span(packs_).subspan(packs_written_));
    records_.for_each([&](std::uint64_t chunk, ChunkRecord& record) {
        if (!record.is_zero() && !record.repeats && record.comes_first == those_first)
            packs.add(chunk, record);
    });
    packs_written_ += packs.finish();
}

void TarImageWriter::write(const ReadChunks& read, const ImageWriter::Sign& sign, TarOutput& output,
                           const std::function<void()>& look_again) {
    find_repeats();
    place_all();
    encode_lists();
    records_.settle();
    lists_.settle();
    places_.settle();
    manifest_.data_bytes = data_bytes_;
    const StoredImage image{manifest_.name, manifest_.version};
    const std::string json = manifest_text(manifest_);
    TarWriter tar(
        [&](std::span<const std::byte> bytes) {
            output.append(bytes);
            stored_bytes_ += bytes.size();
        },
        manifest_.created);
    tar.add(image.base() + ".json", as_bytes(json));
    if (sign) tar.add(image.base() + ".sig", as_bytes(sign(as_bytes(json))));
    write_lists(tar);
    write_packs(true, read, tar);
    tar.add(kStoreFile, as_bytes(to_json(StoreIndex{{image}})));
    write_packs(false, read, tar);
    look_again();
    tar.finish();
    output.commit();
}

}  // namespace dupengine::image
