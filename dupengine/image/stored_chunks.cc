#include "image/stored_chunks.h"

#include "image/new_file.h"
#include "image/stored_form.h"

namespace dupengine::image {
namespace {

Place place_of(std::uint32_t number, const PackEntry& entry) {
    return {number, entry.offset, entry.bytes, entry.compressed};
}

}  // namespace

StoredChunks::StoredChunks(const Store& store) : store_(store) {
    for (const PackId& id : store.packs()) {
        try {
            const auto pack = static_cast<std::uint32_t>(packs_.size());
            Pack found{.id = id, .index = PackIndex(store.files(), id)};
            if (known_.count() < KnownChunks::kMost) {
                std::uint32_t entry = 0;
                for (const PackEntry& e : found.index->read(store.files()))
                    known_.insert(e.sha256, {pack, entry++});
            }
            by_id_.emplace(id, pack);
            packs_.push_back(std::move(found));
        } catch (const Error& e) {
            if (e.code() != Code::kIntegrity) throw;
            notes_.push_back(std::string(e.what()) + "; nothing of it is used again");
        }
    }
    building_ = static_cast<std::uint32_t>(packs_.size());
    packs_.emplace_back();
}

StoredChunks::~StoredChunks() = default;

std::uint32_t StoredChunks::number_of(std::uint32_t pack) {
    auto& number = packs_[pack].number;
    if (!number) {
        number = static_cast<std::uint32_t>(used_.size());
        used_.push_back(pack);
    }
    return *number;
}

std::optional<Place> StoredChunks::find(const codec::Sha256& sha256) {
    const KnownChunks::Location* at = known_.find(sha256);
    if (at == nullptr) return std::nullopt;
    const Pack& pack = packs_[at->pack];
    const PackEntry entry = pack.index
                                ? pack.index->entry(store_.files(), at->entry)
                                : (at->pack == building_ ? builder_.entries() : pack.entries).at(at->entry);
    if (entry.sha256 != sha256) return std::nullopt;
    return place_of(number_of(at->pack), entry);
}

// Entries are in the order of their offsets. Mostly the one behind the last one is wanted.
std::optional<PackEntry> StoredChunks::entry_at(Pack& pack, std::uint32_t offset) const {
    std::uint32_t begin = 0, end = pack.index->count();
    for (std::uint32_t at = pack.next; begin < end; at = begin + (end - begin) / 2) {
        if (at >= end) continue;
        const PackEntry entry = pack.index->entry(store_.files(), at);
        if (entry.offset == offset) {
            pack.next = at + 1;
            return entry;
        }
        if (entry.offset < offset)
            begin = at + 1;
        else
            end = at;
    }
    return std::nullopt;
}

std::optional<Place> StoredChunks::known_place(const codec::Sha256& sha256, const PackId& pack,
                                               const Place& place) {
    const std::scoped_lock lock(mutex_);
    const auto at = by_id_.find(pack);
    if (at == by_id_.end()) return std::nullopt;
    const auto entry = entry_at(packs_[at->second], place.offset);
    if (!entry || entry->sha256 != sha256 || entry->bytes != place.bytes ||
        entry->compressed != place.compressed)
        return std::nullopt;
    return place_of(number_of(at->second), *entry);
}

StoredChunks::Put StoredChunks::put(const codec::Sha256& sha256, std::span<const std::byte> chunk) {
    {
        const std::scoped_lock lock(mutex_);
        if (const auto place = find(sha256)) return {*place, false};
    }
    const StoredForm stored = stored_form(chunk);
    std::optional<std::pair<std::uint32_t, PackBuilder::Finished>> full;
    Put put;
    {
        const std::scoped_lock lock(mutex_);
        // Another thread may have come with the same chunk meanwhile.
        if (const auto place = find(sha256)) {
            put = {*place, false};
        } else {
            known_.insert(sha256, {building_, static_cast<std::uint32_t>(builder_.entries().size())});
            const PackEntry entry = builder_.add(sha256, stored.bytes, stored.compressed);
            put = {place_of(number_of(building_), entry), true};
            if (builder_.is_full()) {
                full.emplace(building_, builder_.finish());
                packs_[building_].entries = full->second.entries;
                building_ = static_cast<std::uint32_t>(packs_.size());
                packs_.emplace_back();
            }
        }
    }
    if (full) write(full->first, std::move(full->second));
    return put;
}

void StoredChunks::write(std::uint32_t pack, PackBuilder::Finished finished) {
    NewFile file(store_.path() + "/" + pack_file(finished.id));
    file.append(finished.content);
    file.commit();
    const std::scoped_lock lock(mutex_);
    packs_[pack].id = finished.id;
    packs_[pack].index.emplace(store_.files(), finished.id);
    packs_[pack].entries = {};
    new_bytes_ += finished.content.size();
}

void StoredChunks::finish() {
    if (!builder_.empty()) write(building_, builder_.finish());
}

std::vector<PackId> StoredChunks::packs() const {
    std::vector<PackId> ids;
    for (const std::uint32_t pack : used_)
        ids.push_back(packs_[pack].id.value());
    return ids;
}

}  // namespace dupengine::image
