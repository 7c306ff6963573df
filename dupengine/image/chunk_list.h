#pragma once
// The chunks of one stretch of a disk: their digests (signed, through the manifest) and the places where they
// are stored (not signed: they may move, and what is found there is held against its digest). Files
// NAME/VERSION.lists and NAME/VERSION.places; dupengine-formats(5). Pure but for ChunkMap, which may be used
// from any thread.

#include <functional>
#include <list>
#include <memory>
#include <mutex>
#include <vector>

#include "image/files.h"
#include "image/manifest.h"

namespace dupengine::image {

/// Where a chunk is stored.
struct Place {
    std::uint32_t pack = 0;    ///< number in the list of packs
    std::uint32_t offset = 0;  ///< in the pack
    std::uint32_t bytes = 0;   ///< as stored; 0: nowhere
    bool compressed = false;   ///< with zstd; else as it is
    bool operator==(const Place&) const = default;
};

/// The digest of a chunk that is stored nowhere, because it is all zero.
inline constexpr codec::Sha256 kZeroChunk{};

struct ChunkList {
    std::vector<codec::Sha256> digests;
    std::vector<Place> places;
};

/// A pack is known by the first half of a digest of what is in it (pack.h).
using PackId = std::array<std::byte, 16>;

/// "packs/0123456789abcdef0123456789abcdef.pack"
std::string pack_file(const PackId& pack);

// The file of places: magic "DUPPLACE", u32 version 1, u32 count of packs, u64 count of places; the places,
// those of each list of the manifest in order: u32 pack, u32 offset, u32 bytes with the highest bit set if
// they are compressed; the ids of the packs.

struct PlacesHead {
    std::uint32_t packs = 0;
    std::uint64_t places = 0;
    static constexpr std::size_t kBytes = 24;  ///< the first place stands behind it
};
Bytes encode_places_head(const PlacesHead& head);
inline constexpr std::size_t kPlaceBytes = 12;
void encode_place(std::span<std::byte> at, const Place& place);
Place decode_place(std::span<const std::byte> at);

/// A list as it is in the files of an image.
struct EncodedList {
    Bytes lists;             ///< compressed, if that pays
    codec::Sha256 sha256{};  ///< of the digests
    Bytes places;
};
EncodedList encode_list(const ChunkList& list);

/// The chunks of an image, read as they are needed.
class ChunkMap {
  public:
    /// Reads which packs it lies in. `files` outlives it. Throws kIntegrity.
    ChunkMap(const Files& files, Manifest manifest, std::string base);

    const Manifest& manifest() const { return manifest_; }
    const std::vector<PackId>& packs() const { return packs_; }
    std::uint64_t chunk_count() const;
    /// The list of the manifest that holds this chunk, by its place in manifest().lists; empty if that
    /// stretch is zero.
    std::optional<std::size_t> list_of(std::uint64_t chunk) const;
    /// The digests are as the manifest says, each place is within bounds. Throws kIntegrity; what reading
    /// throws.
    std::shared_ptr<const ChunkList> list(std::size_t index) const;

  private:
    ChunkList read_list(std::size_t index) const;
    void announce(std::size_t index) const;
    ByteOffset places_of(std::size_t index) const;  // in their file

    const Files& files_;
    Manifest manifest_;
    std::string base_;
    std::vector<PackId> packs_;
    struct Cached {
        std::size_t index = 0;
        std::shared_ptr<const ChunkList> list;
    };
    mutable std::mutex mutex_;
    mutable std::list<Cached> cache_;  // the one used last first
};

}  // namespace dupengine::image
