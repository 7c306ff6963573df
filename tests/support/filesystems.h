#pragma once
// Filesystems for tests: made by the real mkfs programs, looked at, rebuilt from their used extents alone and
// held against the real checkers.

#include <cstdint>
#include <string>
#include <vector>

#include "layout/used_extents.h"
#include "tests/support/scratch.h"

namespace dupengine::test {

/// A folder of files and folders that depend on the seed: empty, tiny, large, sparse, many in one folder,
/// symbolic links.
std::string make_tree(const ScratchFolder& scratch, const std::string& name, std::uint64_t seed);

/// mke2fs over a new sparse file, filled with the tree (unless it is empty).
std::string make_ext(const ScratchFolder& scratch, const std::string& name, std::uint64_t size_bytes,
                     const std::vector<std::string>& arguments, const std::string& tree);

/// Signature and used extents of an image, as the engine sees them.
struct Look {
    std::optional<layout::Signature> signature;
    layout::UsedExtents used;
};
Look look_at(const std::string& image);

/// The used extents of a part that libblkid is said to have called `type`.
layout::UsedExtents used_as(const block::Reader& part, const std::string& type);

/// A file of the same size that holds `fill` everywhere but in the used extents: what a copy would make of a
/// disk that was full of it.
void rebuild(const std::string& image, const layout::UsedExtents& used, std::byte fill,
             const std::string& path);

/// The files of an ext image in a folder, without mounting it.
void extract_ext(const std::string& image, const std::string& folder);

/// Every file and folder that the first inodes of an F2FS image name, in one folder, `folder`/lost_found.
void extract_f2fs(const std::string& image, const std::string& folder);

/// A number that `dumpe2fs -h` prints: "Block count", "Free blocks", "Block size".
std::uint64_t dumpe2fs_number(const std::string& image, const std::string& field);

}  // namespace dupengine::test
