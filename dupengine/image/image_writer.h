#pragma once
// Adds an image to a store, chunk by chunk. Until finish() the store is as it was, but for packs that nothing
// refers to; the next capture uses what is in them.

#include <atomic>

#include "block/extent.h"
#include "image/chunk_list_writer.h"
#include "image/chunk_sink.h"
#include "image/stored_chunks.h"

namespace dupengine::image {

class ImageWriter final : public ChunkSink {
  public:
    /// `draft` says what is captured and under which name; version, chunk sizes and lists are filled in.
    /// `data`: what will be put. `store` is open for writing, and outlives it. Throws kTargetIo.
    ImageWriter(Store& store, Manifest draft, const block::ExtentSet& data);

    const Manifest& manifest() const { return manifest_; }
    /// One chunk that `data` touches.
    void put(std::uint64_t chunk, std::span<const std::byte> bytes) override;
    /// The signature is made of the exact bytes of the manifest; empty: it is not signed.
    using Sign = std::function<std::string(std::span<const std::byte> manifest)>;
    /// When all was put. The image is in the store, durable and read back, when this returns.
    void finish(const Sign& sign);

    std::uint64_t data_bytes() const { return data_bytes_; }      ///< in chunks that are not zero
    std::uint64_t shared_bytes() const { return shared_bytes_; }  ///< of these, in the store already
    std::uint64_t stored_bytes() const { return stored_.new_bytes(); }
    std::vector<std::string> notes() const;

  private:
    std::optional<Place> place_in_previous(std::uint64_t chunk, const codec::Sha256& sha256);
    Store& store_;
    std::vector<std::string> notes_;
    Manifest manifest_;
    std::optional<ChunkMap> previous_;
    std::string base_;
    StoredChunks stored_;
    ChunkListWriter lists_;
    std::atomic<std::uint64_t> data_bytes_{0}, shared_bytes_{0};
};

}  // namespace dupengine::image
