#pragma once
// A store with one small image, made without a disk: 10 MiB, of which three are data.

#include <string>

#include "base/bytes.h"
#include "image/image_reader.h"

namespace dupengine::test {

/// Bytes that do not compress, and some that do, at the same places for any seed; the rest zeros.
Bytes small_disk(std::uint64_t seed);
/// Adds a version of the image "web" to the store in this folder, which is made if it is missing.
void capture_small_disk(const std::string& store, const Bytes& disk);
/// All of an image, read as a copy does it: expected first, then in chunks of 1 MiB.
Bytes read_as_a_copy(const image::ImageReader& reader);

}  // namespace dupengine::test
