#pragma once
// A small but real system disk, made by the field's own programs: GPT (sgdisk), EFI system partition
// (mkfs.fat, mcopy), ext4 root (mke2fs -d, then files deleted so that free blocks hold old data), swap
// (mkswap). No mounts needed.

#include <cstdint>
#include <string>

#include "block/extent.h"
#include "tests/support/scratch.h"

namespace dupengine::test {

struct DiskImage {
    std::string path;
    std::uint32_t sector_bytes = 512;
    block::Extent esp, root, swap;
    std::string root_uuid, swap_uuid;
    std::string disk_guid;
};

struct DiskImageRecipe {
    std::uint64_t size_bytes = 96 << 20;
    std::uint32_t sector_bytes = 512;
    std::uint64_t seed = 1;
};

/// Partitions 1 ESP (16 MiB), 2 swap (8 MiB), 3 root (the rest but 4 MiB). The root holds some hundred files,
/// and deleted ones whose bytes contain kDeletedText.
DiskImage make_disk_image(const ScratchFolder& folder, const std::string& name,
                          const DiskImageRecipe& recipe = {});
inline constexpr const char* kDeletedText = "THIS FILE WAS DELETED AND MUST NOT TRAVEL";

/// A file with other content everywhere: kOldText in every 4096 bytes.
void fill_with_old_data(const std::string& path, std::uint64_t size_bytes);
inline constexpr const char* kOldText = "OLD DATA OF THE TARGET MUST NOT SHINE THROUGH";

/// One range of a file as a file of its own.
void extract_range(const std::string& path, block::Extent range, const std::string& into);
/// SHA-256 over names, modes and contents of all files of an ext filesystem / a FAT filesystem in a file.
std::string ext_tree_digest(const ScratchFolder& folder, const std::string& filesystem);
std::string fat_tree_digest(const ScratchFolder& folder, const std::string& filesystem);
/// A file of random bytes, which do not compress, in the image's root; for each name once.
void add_file(const ScratchFolder& folder, const DiskImage& image, const std::string& name, std::size_t bytes,
              std::uint64_t seed);
/// ext_tree_digest of the root of a disk that is laid out like `image`. Throws if it is not sound.
std::string root_digest(const ScratchFolder& folder, const DiskImage& image, const std::string& disk);
/// Whether the bytes occur anywhere in the file.
bool file_contains(const std::string& path, const std::string& text);

}  // namespace dupengine::test
