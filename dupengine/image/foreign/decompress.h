#pragma once
// What a compressed file holds, from its start to its end, with all checks that its format has. zlib and
// libarchive stay behind this header.

#include <memory>

#include "image/foreign/foreign_file.h"
#include "image/foreign/kind.h"

namespace dupengine::image {

class Decompressed {
  public:
    virtual ~Decompressed() = default;
    /// Fills as much of the buffer as there is; less: the end. Several streams one behind the other are one.
    /// Throws kSourceIo for what is damaged, cut off, or has something else behind it.
    virtual std::size_t read(std::span<std::byte> buffer) = 0;
};

/// The file need not stay open.
std::unique_ptr<Decompressed> decompress(const ForeignFile& file, DiskForm form);

/// gunzip.cc: libarchive does not look at the checksums of gzip.
std::unique_ptr<Decompressed> gunzip(const ForeignFile& file);

}  // namespace dupengine::image
