#pragma once
// An image as a disk: what a copy reads from. Every chunk is held against its digest before a byte of it is
// handed out, and the digests against the manifest's. The manifest itself is for whoever opens it to believe
// (signature.h). From any thread.

#include "block/device.h"
#include "image/chunk_ahead.h"
#include "image/chunk_list.h"

namespace dupengine::image {

class ImageReader final : public block::Reader {
  public:
    /// `files` outlives it, and so does `cache`, which may be null.
    ImageReader(const Files& files, Manifest manifest, std::string base, std::string name,
                PackCache* cache = nullptr);

    const Manifest& manifest() const { return map_.manifest(); }
    const block::Geometry& geometry() const override { return geometry_; }
    const std::string& name() const override { return name_; }
    /// Throws kIntegrity for what is not as the manifest says; what Files throw.
    void read(ByteOffset offset, std::span<std::byte> buffer) const override;
    block::Extent next_data(block::Extent within) const override;

    void start_read(block::Transfers& transfers, std::uint64_t tag, ByteOffset offset,
                    std::span<std::byte> buffer, From from) const override;
    void expect(const block::ExtentSet& data) const override { ahead_.expect(data); }

    std::uint64_t known_piece_bytes() const override { return manifest().chunk_bytes; }
    bool holds(ByteOffset offset, std::span<const std::byte> bytes) const override;

    const ChunkMap& map() const { return map_; }

  private:
    struct Run;
    block::Extent extent_of(std::uint64_t chunk) const;
    void read_chunks(std::uint64_t first, std::span<std::byte> buffer) const;
    void read_run(const Run& run, std::span<std::byte> buffer) const;
    bool take_from_cache(const Place& place, const codec::Sha256& digest, std::span<std::byte> chunk) const;
    std::shared_ptr<const Bytes> chunk_for_a_part(std::uint64_t chunk) const;

    ChunkMap map_;
    std::string name_;
    block::Geometry geometry_;
    const Files& files_;
    PackCache* kept_;
    mutable ChunkAhead ahead_;
    struct Cached {
        std::uint64_t chunk = 0;
        std::shared_ptr<const Bytes> bytes;
    };
    mutable std::mutex mutex_;
    mutable std::list<Cached> cache_;  // of chunks that were read in part; the one used last first
};

}  // namespace dupengine::image
