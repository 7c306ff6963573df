#pragma once
// A pack: some 16 MiB of stored chunks in one file, with an index at its end. Named by its index, so by what
// is in it; it never changes. dupengine-formats(5). An object is used by one thread at a time.

#include <vector>

#include "image/chunk_list.h"
#include "image/files.h"

namespace dupengine::image {

struct PackEntry {
    codec::Sha256 sha256{};    ///< of the chunk
    std::uint32_t offset = 0;  ///< of its stored form
    std::uint32_t bytes = 0;
    bool compressed = false;
};

/// Which pack holds just these, in this order.
PackId pack_id_of(std::span<const PackEntry> entries);

/// Puts a pack together in memory.
class PackBuilder {
  public:
    /// When a pack is full; a chunk that is being added may take it a little past that.
    static constexpr std::size_t kFullBytes = 16 * kMiB;
    static constexpr std::size_t kFullEntries = 65536;
    static bool is_full(std::size_t bytes, std::size_t entries) {
        return bytes >= kFullBytes || entries >= kFullEntries;
    }
    /// Where the first chunk stands.
    static constexpr std::uint32_t kBegin = 8;

    bool is_full() const { return is_full(bytes_.size() - gap_bytes_, entries_.size()); }
    bool empty() const { return entries_.empty(); }
    /// Before the first chunk: it stands so much behind kBegin. That makes another pack of the same chunks.
    void leave_gap(std::uint32_t bytes);
    /// Where it stands in this pack.
    PackEntry add(const codec::Sha256& sha256, std::span<const std::byte> stored, bool compressed);
    const std::vector<PackEntry>& entries() const { return entries_; }
    struct Finished {
        PackId id{};
        Bytes content;
        std::vector<PackEntry> entries;
    };
    /// The pack; the builder is empty again.
    Finished finish();

  private:
    Bytes bytes_;
    std::size_t gap_bytes_ = 0;
    std::vector<PackEntry> entries_;
};

/// The index of a pack that is in a store.
class PackIndex {
  public:
    /// Looks at the end of the pack only. Throws kIntegrity if it is none.
    PackIndex(const Files& files, const PackId& pack);
    std::uint32_t count() const { return count_; }
    /// Reads and checks all of it. Throws kIntegrity, also if it is not the pack of this name.
    std::vector<PackEntry> read(const Files& files) const;
    /// One entry, unchecked but for its bounds.
    PackEntry entry(const Files& files, std::uint32_t number) const;

  private:
    [[noreturn]] void refuse(const Files& files) const;
    PackEntry decode(const Files& files, std::span<const std::byte> at) const;
    PackId pack_;
    codec::Sha256 digest_{};
    ByteOffset begin_ = 0;
    std::uint32_t count_ = 0;
};

}  // namespace dupengine::image
