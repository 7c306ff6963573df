#pragma once
// The write side of a store: chunks go in, places come out. What the store has already is not stored again;
// the rest is compressed where that pays and put into new packs. From any thread.

#include <map>
#include <memory>
#include <mutex>

#include "image/known_chunks.h"
#include "image/pack.h"
#include "image/store.h"

namespace dupengine::image {

class StoredChunks {
  public:
    /// Looks at the packs of the store, which outlives it. One that is damaged is not used, and named in
    /// notes().
    explicit StoredChunks(const Store& store);
    ~StoredChunks();
    StoredChunks(const StoredChunks&) = delete;
    StoredChunks& operator=(const StoredChunks&) = delete;

    struct Put {
        Place place;  ///< pack: a number of this run, see packs()
        bool is_new = false;
    };
    /// Stores a chunk. Throws kTargetIo.
    Put put(const codec::Sha256& sha256, std::span<const std::byte> chunk);
    /// The place of a chunk of an image of this store, if its pack is still there and says the same of it:
    /// what places say is signed by nobody. Throws kSourceIo.
    std::optional<Place> known_place(const codec::Sha256& sha256, const PackId& pack, const Place& place);
    /// Writes what is not written yet. All that was put is durable, and was read back, when it returns.
    void finish();

    /// What Place::pack counts in: those that were used.
    std::vector<PackId> packs() const;
    std::uint64_t new_bytes() const { return new_bytes_; }  ///< stored, packs with their indexes
    const std::vector<std::string>& notes() const { return notes_; }

  private:
    struct Pack {
        std::optional<PackId> id;             // not yet: it is being put together
        std::optional<PackIndex> index;       // not for those of this run
        std::uint32_t next = 0;               // of the index: what is likely asked for next
        std::vector<PackEntry> entries;       // of this run's
        std::optional<std::uint32_t> number;  // in packs(), once it was used
    };
    std::uint32_t number_of(std::uint32_t pack);
    std::optional<PackEntry> entry_at(Pack& pack, std::uint32_t offset) const;
    std::optional<Place> find(const codec::Sha256& sha256);
    void write(std::uint32_t pack, PackBuilder::Finished finished);

    const Store& store_;
    std::vector<std::string> notes_;
    mutable std::mutex mutex_;
    std::vector<Pack> packs_;
    std::map<PackId, std::uint32_t> by_id_;  // of packs_, those that were there before
    std::vector<std::uint32_t> used_;        // by number, which of packs_
    KnownChunks known_;
    PackBuilder builder_;
    std::uint32_t building_ = 0;  // which of packs_ the builder is
    std::uint64_t new_bytes_ = 0;
};

}  // namespace dupengine::image
