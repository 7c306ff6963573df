#pragma once
// A small system disk as somebody forgets to clean it, made by the field's own programs: GPT with an EFI
// system partition, swap, an ext4 root and the profile partition of a node. Identifiers are referred to
// wherever a Debian refers to them.

#include <map>
#include <string>

#include "block/extent.h"
#include "tests/support/scratch.h"

namespace dupengine::test {

struct GoldenDisk {
    std::string path;
    block::Extent esp, swap, root, profile;
    std::string initrd;  ///< as it was put on the ESP
};

struct GoldenRecipe {
    std::uint64_t size_bytes = 160 << 20;
    std::uint32_t sector_bytes = 512;
    unsigned extra_files = 200;                ///< more metadata to be rewritten
    std::map<std::string, std::string> files;  ///< in the root, by path; more, or instead of its own
};

/// Partitions 1 ESP (40 MiB; 300 MiB with sectors of 4096 bytes), 2 swap (8 MiB), 3 root, 128 profile. Needs
/// root (owners of files) but no mount.
GoldenDisk make_golden_disk(const ScratchFolder& folder, const std::string& name,
                            const GoldenRecipe& recipe = {});

/// blkid's word on one partition.
std::string probed(const std::string& disk, block::Extent part, const std::string& tag);
/// A file of the root (debugfs) or of the ESP (mtype).
std::string root_file(const GoldenDisk& disk, const std::string& path);
std::string esp_file(const GoldenDisk& disk, const std::string& path);
/// "Disk identifier (GUID)", "Partition unique GUID" as sgdisk says them.
std::string disk_guid(const GoldenDisk& disk);
std::string partition_guid(const GoldenDisk& disk, unsigned number);
/// SHA-256 of one range of a file.
std::string range_sha256(const std::string& path, block::Extent range);

}  // namespace dupengine::test
