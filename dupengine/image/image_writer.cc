#include "image/image_writer.h"

#include <unistd.h>

#include "image/new_file.h"

namespace dupengine::image {
namespace {

Manifest complete(Manifest draft, const Store& store) {
    const StoredImage* newest = store.index().newest(draft.name);
    draft.version = newest == nullptr ? 1 : newest->version + 1;
    draft.chunk_bytes = kChunkBytes;
    draft.chunks_per_list = choose_chunks_per_list(draft.size_bytes);
    return draft;
}

// The version before this one: most of its chunks come again at the same place. It only helps, so one that
// cannot be read is no error.
std::optional<ChunkMap> open_previous(const Store& store, const std::string& name,
                                      std::vector<std::string>& notes) {
    const StoredImage* newest = store.index().newest(name);
    if (newest == nullptr) return std::nullopt;
    try {
        Manifest manifest =
            parse_manifest(read_whole(store.files(), newest->base() + ".json", kManifestLimit));
        if (manifest.chunk_bytes != kChunkBytes) return std::nullopt;
        return std::optional<ChunkMap>(std::in_place, store.files(), std::move(manifest), newest->base());
    } catch (const Error& e) {
        notes.push_back(fmt::format("{} cannot be compared with: {}", newest->text(), e.what()));
        return std::nullopt;
    }
}

std::string make_image_folder(const Store& store, const Manifest& manifest) {
    make_folder(store.path() + "/images/" + manifest.name);
    return store.path() + "/" + StoredImage{manifest.name, manifest.version}.base();
}

void write_file(const std::string& path, std::string_view text) {
    NewFile file(path);
    file.append(as_bytes(text));
    file.commit();
}

}  // namespace

ImageWriter::ImageWriter(Store& store, Manifest draft, const block::ExtentSet& data)
    : store_(store),
      manifest_(complete(std::move(draft), store)),
      previous_(open_previous(store, manifest_.name, notes_)),
      base_(make_image_folder(store, manifest_)),
      stored_(store),
      lists_(manifest_, data, base_) {}

std::optional<Place> ImageWriter::place_in_previous(std::uint64_t chunk, const codec::Sha256& sha256) {
    if (!previous_) return std::nullopt;
    const auto index = previous_->list_of(chunk);
    if (!index) return std::nullopt;
    const auto list = previous_->list(*index);
    const std::size_t at = chunk % previous_->manifest().chunks_per_list;
    if (list->digests[at] != sha256) return std::nullopt;
    return stored_.known_place(sha256, previous_->packs()[list->places[at].pack], list->places[at]);
}

void ImageWriter::put(std::uint64_t chunk, std::span<const std::byte> bytes) {
    if (is_zero(bytes)) {
        lists_.put(chunk, kZeroChunk, {});
        return;
    }
    const codec::Sha256 sha256 = codec::sha256(bytes);
    StoredChunks::Put put;
    if (const auto place = place_in_previous(chunk, sha256))
        put.place = *place;
    else
        put = stored_.put(sha256, bytes);
    lists_.put(chunk, sha256, put.place);
    data_bytes_ += bytes.size();
    if (!put.is_new) shared_bytes_ += bytes.size();
}

void ImageWriter::finish(const Sign& sign) {
    stored_.finish();
    manifest_.lists = lists_.finish(stored_.packs());
    manifest_.data_bytes = data_bytes_;
    const std::string json = manifest_text(manifest_);
    if (sign)
        write_file(base_ + ".sig", sign(as_bytes(json)));
    else  // of a capture that was cut before it was named in the index
        static_cast<void>(::unlink((base_ + ".sig").c_str()));
    write_file(base_ + ".json", json);
    StoreIndex index = store_.index();
    index.insert({manifest_.name, manifest_.version});
    store_.replace_index(std::move(index));
}

std::vector<std::string> ImageWriter::notes() const {
    std::vector<std::string> notes = notes_;
    notes.insert(notes.end(), stored_.notes().begin(), stored_.notes().end());
    return notes;
}

}  // namespace dupengine::image
