#include "image/chunk_use.h"

#include <algorithm>

namespace dupengine::image {

std::uint64_t ChunkUse::Pack::stored_bytes() const {
    std::uint64_t bytes = 0;
    for (const Entry& entry : entries)
        bytes += entry.bytes;
    return bytes;
}

std::uint64_t ChunkUse::Pack::used_bytes() const {
    std::uint64_t bytes = 0;
    for (std::size_t i = 0; i < entries.size(); ++i)
        if (user[i] != 0) bytes += entries[i].bytes;
    return bytes;
}

ChunkUse::Pack& ChunkUse::pack(const PackId& id) {
    const auto at = packs_.find(id);
    if (at != packs_.end()) return at->second;
    Pack pack;
    for (const PackEntry& entry : PackIndex(files_, id).read(files_))
        pack.entries.push_back({entry.offset, entry.bytes, entry.compressed});
    std::ranges::sort(pack.entries, {}, &Entry::offset);
    pack.user.resize(pack.entries.size());
    return packs_.emplace(id, std::move(pack)).first->second;
}

void ChunkUse::add(const ChunkMap& image) {
    if (images_ == kSeveral - 1) throw_error(Code::kUnsupported, "{}: more than 65534 images", files_.name());
    ++images_;
    for (std::size_t index = 0; index < image.manifest().lists.size(); ++index) {
        const auto list = image.list(index);
        for (std::size_t i = 0; i < list->digests.size(); ++i) {
            if (list->digests[i] == kZeroChunk) continue;
            const Place& place = list->places[i];
            const PackId& id = image.packs()[place.pack];
            Pack& used = pack(id);
            const auto entry = std::ranges::lower_bound(used.entries, place.offset, {}, &Entry::offset);
            if (entry == used.entries.end() || entry->offset != place.offset || entry->bytes != place.bytes)
                throw_error(Code::kIntegrity, "{}: {} has no chunk at byte {}, which {}@{} needs",
                            files_.name(), pack_file(id), place.offset, image.manifest().name,
                            image.manifest().version);
            std::uint16_t& user = used.user[static_cast<std::size_t>(entry - used.entries.begin())];
            user = user == 0 || user == images_ ? images_ : kSeveral;
        }
    }
}

std::uint64_t ChunkUse::bytes_of(std::uint16_t number) const {
    std::uint64_t bytes = 0;
    for (const auto& [id, pack] : packs_)
        for (std::size_t i = 0; i < pack.entries.size(); ++i)
            if (pack.user[i] == number) bytes += pack.entries[i].bytes;
    return bytes;
}

}  // namespace dupengine::image
