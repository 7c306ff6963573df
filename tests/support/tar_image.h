#pragma once
// Images in one tar, made of bytes in memory, and tars of any files, for tests.

#include <string>
#include <utility>
#include <vector>

#include "image/tar_image_writer.h"

namespace dupengine::test {

struct TarImageRecipe {
    Bytes disk;
    std::string name = "web";
    block::ExtentSet first = {};  ///< stands in front
    image::ImageWriter::Sign sign = {};
    /// Before the disk is read for the second time.
    std::function<void(Bytes& disk)> change = {};
    std::size_t most_known = image::KnownChunks::kMost;
};

/// The tar. Throws what writing it throws.
Bytes make_tar_image(const TarImageRecipe& recipe);

struct TarEntry {
    std::string file;
    Bytes content;
    ByteOffset begin = 0;  ///< of its header, in the tar that it was read from
};
std::vector<TarEntry> read_tar(std::span<const std::byte> tar);
Bytes write_tar(const std::vector<TarEntry>& entries);

void write_file(const std::string& path, std::span<const std::byte> content);

}  // namespace dupengine::test
