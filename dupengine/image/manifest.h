#pragma once
// The manifest of an image: what disk it is of, and the digests from which every byte of it follows. JSON
// (dupengine-formats(5)); what is signed are its exact bytes (signature.h). It stays small whatever the size
// of the disk: the digests of the chunks are in lists (chunk_list.h), and the manifest holds the digests of
// the lists. Everything in a manifest is checked before it is believed. Pure.

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "block/device.h"
#include "codec/digest.h"

namespace dupengine::image {

struct Manifest {
    struct Partition {  ///< for people; a restore reads the table itself
        unsigned number = 0;
        block::Extent extent;
        std::string name, filesystem;
        std::uint64_t used_bytes = 0;
    };
    /// The chunks of one stretch of the disk.
    struct List {
        std::uint64_t number = 0;  ///< of the stretch: it begins at number * chunks_per_list * chunk_bytes
        ByteOffset offset = 0;     ///< in the file of lists, where its compressed form is
        std::uint32_t bytes = 0;   ///< of that
        codec::Sha256 sha256{};    ///< of the list itself
    };

    std::string name;
    std::uint64_t version = 0;  ///< from 1, higher with each capture
    std::int64_t created = 0;   ///< Unix seconds
    std::optional<std::int64_t> expires;
    std::string target_class;  ///< which machines it is for; empty: any
    std::string source;        ///< what was captured, for a person
    std::uint64_t size_bytes = 0;
    std::uint32_t sector_bytes = 512;
    std::string table;  ///< "gpt", "mbr", "none"
    std::vector<Partition> partitions;
    std::uint64_t data_bytes = 0;  ///< in chunks that are not all zero
    std::uint32_t chunk_bytes = 0;
    std::uint32_t chunks_per_list = 0;
    std::vector<List> lists;  ///< by number; a stretch without one is zero
};

/// Chunks are as small as a change on a disk is, so that a second capture holds little more than what
/// changed.
inline constexpr std::uint32_t kChunkBytes = 64 * kKiB;
inline constexpr std::size_t kManifestLimit = 4 * kMiB;

/// How many chunks a list has, so that a manifest has at most 4096 lists. Throws kUnsupported for a disk that
/// is too large (256 TiB).
std::uint32_t choose_chunks_per_list(std::uint64_t size_bytes);

std::string to_json(const Manifest& manifest);
/// As it is stored. Throws kUnsupported if it would be too large for whoever reads it.
std::string manifest_text(const Manifest& manifest);
/// Throws kIntegrity, saying what is wrong.
Manifest parse_manifest(std::span<const std::byte> json);

}  // namespace dupengine::image
