#include "image/prune.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <set>

#include "image/chunk_use.h"
#include "image/new_file.h"

namespace dupengine::image {
namespace {

namespace fs = std::filesystem;

// A pack is put together anew if less than half of it is needed.
bool is_worth_keeping(const ChunkUse::Pack& pack) {
    return pack.used_bytes() * 2 >= pack.stored_bytes();
}

void remove(const std::string& path) {
    if (::unlink(path.c_str()) != 0 && errno != ENOENT)
        throw_errno(Code::kTargetIo, errno, "{}: cannot be removed", path);
}

ChunkMap open_map(const Files& files, const StoredImage& image) {
    return {files, parse_manifest(read_whole(files, image.base() + ".json", kManifestLimit)), image.base()};
}

// Where chunks of packs that go have gone.
class Moves {
  public:
    void add(const PackId& from, std::uint32_t offset, const PackId& to, const PackEntry& entry) {
        moves_[from].push_back({offset, to, entry.offset});
    }
    bool touch(const PackId& pack) const { return moves_.contains(pack); }
    struct Move {
        std::uint32_t from = 0;
        PackId pack{};
        std::uint32_t offset = 0;
    };
    const Move& find(const PackId& pack, std::uint32_t offset) const {
        const auto& moves = moves_.at(pack);
        const auto at = std::ranges::lower_bound(moves, offset, {}, &Move::from);
        if (at == moves.end() || at->from != offset)
            throw_error(Code::kInternal, "a chunk that an image needs was not moved");
        return *at;
    }

  private:
    std::map<PackId, std::vector<Move>> moves_;  // each by `from`
};

// Copies the chunks that are needed of some packs into new ones.
class Repacker {
  public:
    explicit Repacker(const Store& store) : store_(store) {}

    void add(const PackId& id, const ChunkUse::Pack& pack) {
        const std::vector<PackEntry> entries = sorted_entries(id);
        Bytes stored;
        for (std::size_t i = 0; i < entries.size(); ++i) {
            if (pack.user[i] == 0) continue;
            stored.resize(entries[i].bytes);
            store_.files().read(pack_file(id), entries[i].offset, stored);
            waiting_.push_back(
                {id, entries[i].offset, builder_.add(entries[i].sha256, stored, entries[i].compressed)});
            if (builder_.is_full()) write();
        }
    }
    void finish() {
        if (!builder_.empty()) write();
    }
    const Moves& moves() const { return moves_; }
    const std::set<PackId>& made() const { return made_; }
    std::uint64_t bytes() const { return bytes_; }

  private:
    std::vector<PackEntry> sorted_entries(const PackId& id) const {
        auto entries = PackIndex(store_.files(), id).read(store_.files());
        std::ranges::sort(entries, {}, &PackEntry::offset);
        return entries;
    }
    void write() {
        const PackBuilder::Finished pack = builder_.finish();
        NewFile file(store_.path() + "/" + pack_file(pack.id));
        file.append(pack.content);
        file.commit();
        made_.insert(pack.id);
        bytes_ += pack.content.size();
        for (const Waiting& w : waiting_)
            moves_.add(w.from, w.offset, pack.id, w.entry);
        waiting_.clear();
    }
    struct Waiting {
        PackId from{};
        std::uint32_t offset = 0;
        PackEntry entry;
    };
    const Store& store_;
    PackBuilder builder_;
    std::vector<Waiting> waiting_;
    Moves moves_;
    std::set<PackId> made_;
    std::uint64_t bytes_ = 0;
};

// The places of an image, with what moved in its new place.
void rewrite_places(const Store& store, const StoredImage& image, const Moves& moves) {
    const ChunkMap map = open_map(store.files(), image);
    if (std::ranges::none_of(map.packs(), [&](const PackId& id) { return moves.touch(id); })) return;
    NewFile file(store.path() + "/" + image.base() + ".places");
    const std::uint64_t places = map.manifest().lists.size() * std::uint64_t{map.manifest().chunks_per_list};
    file.append(encode_places_head({}));
    std::vector<PackId> packs;
    std::map<PackId, std::uint32_t> numbers;
    const auto number_of = [&](const PackId& id) {
        const auto [at, is_new] = numbers.emplace(id, static_cast<std::uint32_t>(packs.size()));
        if (is_new) packs.push_back(id);
        return at->second;
    };
    for (std::size_t index = 0; index < map.manifest().lists.size(); ++index) {
        const auto list = map.list(index);
        Bytes bytes(list->places.size() * kPlaceBytes);
        for (std::size_t i = 0; i < list->places.size(); ++i) {
            if (list->digests[i] == kZeroChunk) continue;
            Place place = list->places[i];
            PackId id = map.packs()[place.pack];
            if (moves.touch(id)) {
                const Moves::Move& move = moves.find(id, place.offset);
                id = move.pack;
                place.offset = move.offset;
            }
            place.pack = number_of(id);
            encode_place(std::span(bytes).subspan(i * kPlaceBytes, kPlaceBytes), place);
        }
        file.append(bytes);
    }
    file.append(std::as_bytes(std::span(packs)));
    file.replace(0, encode_places_head({static_cast<std::uint32_t>(packs.size()), places}));
    file.commit();
}

// What a capture or a pruning that was cut has left, and the files of images that are in the index no more.
void remove_leftovers(const Store& store) {
    std::set<std::string> wanted;
    for (const StoredImage& image : store.index().images)
        for (const char* end : {".json", ".sig", ".lists", ".places"})
            wanted.insert(store.path() + "/" + image.base() + end);
    for (const auto& folder : fs::directory_iterator(store.path() + "/images")) {
        if (!folder.is_directory()) continue;
        for (const auto& file : fs::directory_iterator(folder.path()))
            if (!wanted.contains(file.path())) remove(file.path());
        std::error_code not_empty;
        fs::remove(folder.path(), not_empty);
    }
    for (const auto& file : fs::directory_iterator(store.path() + "/packs"))
        if (file.path().string().find(".pack.new-") != std::string::npos) remove(file.path());
}

std::uint64_t size_of_pack(const Store& store, const PackId& id) {
    return store.files().size_of(pack_file(id)).value_or(0);
}

}  // namespace

PruneReport prune(Store& store, const std::function<bool(const StoredImage&)>& keeps, bool dry_run) {
    PruneReport report;
    for (const StoredImage& image : store.index().images)
        (keeps(image) ? report.kept : report.removed).push_back(image);
    ChunkUse use(store.files());
    for (const StoredImage& image : report.kept)
        use.add(open_map(store.files(), image));

    std::vector<PackId> going;
    std::uint64_t freed = 0;
    std::uint64_t to_move = 0;
    for (const PackId& id : store.packs()) {
        const auto at = use.packs().find(id);
        if (at != use.packs().end() && is_worth_keeping(at->second)) continue;
        going.push_back(id);
        freed += size_of_pack(store, id);
        if (at != use.packs().end()) to_move += at->second.used_bytes();
    }
    report.packs_removed = going.size();
    if (dry_run) {
        report.bytes_freed = freed - std::min(freed, to_move);
        return report;
    }
    if (!report.removed.empty()) store.replace_index(StoreIndex{report.kept});
    remove_leftovers(store);
    Repacker repacker(store);
    for (const PackId& id : going)
        if (const auto at = use.packs().find(id); at != use.packs().end()) repacker.add(id, at->second);
    repacker.finish();
    for (const StoredImage& image : report.kept)
        rewrite_places(store, image, repacker.moves());
    // The same pack may have been made by a pruning that was cut then, and be among those that nobody needed.
    for (const PackId& id : going)
        if (!repacker.made().contains(id)) remove(store.path() + "/" + pack_file(id));
    report.packs_made = repacker.made().size();
    report.bytes_freed = freed - std::min(freed, repacker.bytes());
    return report;
}

}  // namespace dupengine::image
