#pragma once
// Makes an image in one tar (tar_names.h). What stands in front needs all digests and stored sizes, so the
// disk is read twice: put() every chunk, of which only these are kept, then write(), which reads them again
// in the order of the tar. A chunk that is another one the second time ends it.
//
//     put      chunk -> zero? -> SHA-256 -> compressed size   (ChunkRecords: 48 bytes each, in a file)
//     write    what comes twice -> places -> packs that would be the same -> lists -> manifest -> signature
//              manifest, signature, lists, places, first packs, index, packs -> TarOutput
//
// Memory: bounded, whatever the size of the disk, but for 28 bytes a pack.

#include <atomic>
#include <functional>
#include <map>

#include "image/chunk_list.h"
#include "image/chunk_records.h"
#include "image/chunk_sink.h"
#include "image/image_writer.h"
#include "image/known_chunks.h"
#include "image/tar.h"
#include "image/tar_output.h"

namespace dupengine::image {

class TarImageWriter final : public ChunkSink {
  public:
    /// `draft` as for ImageWriter, but its version counts (0: 1). `data`: what will be put. What `first`
    /// touches will stand in front. Of more different chunks than `most_known` some are stored again. Throws
    /// kRefused if there is no room for what has to be remembered.
    TarImageWriter(Manifest draft, const block::ExtentSet& data, block::ExtentSet first,
                   std::size_t most_known = KnownChunks::kMost);

    const Manifest& manifest() const { return manifest_; }
    void put(std::uint64_t chunk, std::span<const std::byte> bytes) override;
    /// Reads whole chunks from this one on, as they were put. From several threads.
    using ReadChunks = std::function<void(std::uint64_t chunk, std::span<std::byte> bytes)>;
    /// When all was put. The tar is complete when this returns. `look_again` is called when all was read and
    /// before the tar gets its end; it throws if there shall be none. Throws kIntegrity if a chunk has
    /// changed; what `read` and `output` throw.
    void write(const ReadChunks& read, const ImageWriter::Sign& sign, TarOutput& output,
               const std::function<void()>& look_again);

    std::uint64_t data_bytes() const { return data_bytes_; }      ///< in chunks that are not zero
    std::uint64_t shared_bytes() const { return shared_bytes_; }  ///< of these, in the tar for another chunk
    std::uint64_t stored_bytes() const { return stored_bytes_; }  ///< of the whole tar

  private:
    bool stands_first(std::uint64_t chunk) const;
    void find_repeats();
    void place(bool those_first);
    bool find_twins();
    void place_all();
    void encode_lists();
    void end_list(std::uint64_t number, const ChunkList& list);
    void write_lists(TarWriter& tar) const;
    void write_packs(bool those_first, const ReadChunks& read, TarWriter& tar);

    Manifest manifest_;
    block::ExtentSet first_;
    std::size_t most_known_;
    ChunkRecords records_;
    block::ScratchFile lists_, places_;
    std::uint64_t lists_bytes_ = 0, places_bytes_ = 0;
    std::vector<PackId> packs_;
    std::map<std::size_t, std::uint32_t> gaps_;  // in front of the first chunk, of packs that need one
    std::size_t packs_written_ = 0;
    std::atomic<std::uint64_t> data_bytes_{0};
    std::uint64_t shared_bytes_ = 0, stored_bytes_ = 0;
};

}  // namespace dupengine::image
