#pragma once
// File records of NTFS and the attributes in them. Internal to layout/. Pure functions of bytes; they throw
// kIntegrity for what is damaged. Format: the NTFS documentation of the Linux-NTFS project, "File Record",
// "Attribute Header", "Data Runs", "Fixup".

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "layout/ntfs_volume.h"

namespace dupengine::layout {

enum class NtfsType : std::uint32_t {
    kAttributeList = 0x20,
    kFileName = 0x30,
    kVolumeInformation = 0x70,
    kData = 0x80,
    kIndexRoot = 0x90,
    kIndexAllocation = 0xA0,
    kEnd = 0xFFFFFFFF,
};

/// Consecutive clusters of a stream. `first` counts in the stream, `cluster` on the volume.
struct NtfsRun {
    std::uint64_t first = 0, cluster = 0, count = 0;
};

/// One attribute, as it stands in one record. A long stream is in several, each in a record of its own.
struct NtfsAttribute {
    NtfsType type = NtfsType::kEnd;
    std::string name;  ///< UTF-16LE as it is on disk; empty for the unnamed stream
    bool resident = true;
    bool plain = true;  ///< neither compressed nor encrypted nor sparse
    Bytes value;        ///< if resident
    std::uint64_t first = 0;
    std::uint64_t end = 0;      ///< clusters of the stream that this piece covers
    std::vector<NtfsRun> runs;  ///< ascending; a hole has no run
    std::uint64_t data_bytes = 0,
                  initialized_bytes = 0;  ///< of the whole stream; only the first piece has them
};

struct NtfsRecord {
    bool in_use = false;
    std::uint16_t sequence = 0;
    std::uint64_t base = 0;  ///< reference of the record that this one continues; 0: it is a base record
    std::optional<std::uint32_t> number;  ///< as it says itself (from NTFS 3.1 on)
    std::vector<NtfsAttribute> attributes;
};

/// Checks and undoes the fixups of a record or an index block: the last two bytes of every 512 are in a list
/// of their own, so that a torn write shows. Throws unless it begins with `magic`.
void undo_ntfs_fixups(std::span<std::byte> block, std::string_view magic);

/// `bytes` with the fixups undone.
NtfsRecord parse_ntfs_record(std::span<const std::byte> bytes, const NtfsVolume& volume);

/// Of a record that need not be parsable otherwise.
bool ntfs_record_is_in_use(std::span<const std::byte> bytes);

/// An ASCII name as it stands on disk.
std::string ntfs_name(std::string_view ascii);

}  // namespace dupengine::layout
