#pragma once
// Partition tables as values: what a GPT or MBR on a disk says, and the bytes that say it. Reading never
// changes anything, checks every number, and prefers the primary GPT but falls back to the backup (and says
// so). Encoding makes the bytes of both copies; who writes them, and in which order, is the engine's
// business. Own code rather than libfdisk, because libfdisk wants a descriptor and writes by itself: it would
// go around the guard and around "boot structures last", and could not run on fakes. Formats: UEFI 2.10
// chapter 5 (GPT, protective MBR); the PC's MBR with extended partitions (EBR chain).

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/guid.h"
#include "block/device.h"

namespace dupengine::layout {

enum class TableKind { kNone, kGpt, kMbr };
const char* table_kind_name(TableKind kind);  ///< "none", "gpt", "mbr"

struct Partition {
    unsigned number =
        0;  ///< from 1, as Linux numbers it: GPT entry index + 1; MBR primary 1-4, logical from 5
    block::Extent extent;          ///< bytes on the disk
    Guid type_guid;                ///< GPT
    Guid guid;                     ///< GPT: unique partition GUID (PARTUUID)
    std::string name;              ///< GPT: PARTLABEL, UTF-8
    std::uint64_t attributes = 0;  ///< GPT
    std::uint8_t mbr_type = 0;     ///< MBR
    bool mbr_active = false;       ///< MBR
    bool mbr_logical = false;      ///< MBR: lives in the extended partition

    bool operator==(const Partition&) const = default;
};

/// An extended boot record (EBR) as it is on the disk: one link of the chain of logical partitions.
struct BootRecord {
    ByteOffset offset = 0;
    Bytes sector;
    bool operator==(const BootRecord&) const = default;
};

struct PartitionTable {
    TableKind kind = TableKind::kNone;
    std::uint32_t sector_bytes = 512;
    Guid disk_guid;                   ///< GPT
    std::uint32_t mbr_signature = 0;  ///< MBR disk signature (bytes 440-443), of a GPT disk's LBA 0 too
    std::uint64_t first_usable_lba = 0, last_usable_lba = 0;  ///< GPT, inclusive
    std::uint32_t entry_count = 128, entry_bytes = 128;       ///< GPT
    std::uint64_t entries_lba = 2;  ///< GPT: where the entries of the primary copy begin
    /// GPT: sectors between the last usable one and the end of the disk that the table was made for, the
    /// backup included. More than the backup needs means that something there was set aside; encoding keeps
    /// it so. 0: no more.
    std::uint64_t reserved_tail_sectors = 0;
    Bytes sector0;                      ///< LBA 0 as it is: boot code, hybrid MBR entries, signature
    std::vector<Partition> partitions;  ///< ascending by number; never the MBR extended container itself
    std::optional<block::Extent> mbr_extended;  ///< the MBR extended container, if there is one
    std::uint8_t mbr_extended_type = 0;         ///< 0x05, 0x0f or 0x85
    std::vector<BootRecord>
        mbr_chain;              ///< MBR: the EBRs as they are, in chain order; bytes to keep when encoding
    bool primary_valid = true;  ///< GPT: header and entries of the primary copy are whole
    bool backup_valid = true;   ///< GPT: the same for the backup copy at the end of the disk
    std::vector<std::string> problems;  ///< one line each, for a person

    const Partition* by_number(unsigned number) const;
    const Partition* by_guid(const Guid& guid) const;
    /// The first partition of this type, or null.
    const Partition* by_type(const Guid& type_guid) const;
};

/// What the disk says. No table at all is kind kNone, not an error. Throws kSourceIo if the disk cannot be
/// read, kIntegrity if there is a table but no copy of it can be used (truncated, bad checksum, overlapping
/// or out-of-range partitions): one line that says what is wrong. `sector_bytes` comes from the device; for a
/// file with 512, a GPT header found at byte 4096 and none at 512 makes it a disk of 4096-byte sectors
/// (PartitionTable::sector_bytes says which).
PartitionTable read_partition_table(const block::Reader& disk);

/// Profile partitions that any whole copy of a GPT on the disk names, also where that copy is not the one
/// that counts (a wiped start, an MBR written over it). For deciding whether a disk may be overwritten.
/// Throws only what reading throws.
std::vector<Partition> find_profiles_in_any_gpt(const block::Reader& disk);

/// The bytes of a table, ready to be written.
struct TableImage {
    struct Piece {
        ByteOffset offset;
        Bytes content;
    };
    std::vector<Piece>
        primary;  ///< GPT: protective (or hybrid) MBR, header, entries. MBR: sector 0 and every EBR
    std::vector<Piece> backup;  ///< GPT: entries and header at the end of the disk. MBR: empty
};

/// Encodes for a disk of `disk_bytes`: the backup goes to its very end, last_usable_lba is computed anew, the
/// protective MBR covers the new size; a hybrid MBR stays as it is. Only `partitions` and the fields beside
/// it count: add, remove or change there. An unchanged table of an unchanged disk gives back its bytes. A
/// logical MBR partition without an EBR gets one in the free space in front of it; Linux numbers logical
/// partitions without gaps, so those behind a removed one move up. Throws kRefused if a partition would pass
/// the last usable sector, overlaps another or cannot be expressed.
TableImage encode_table(const PartitionTable& table, std::uint64_t disk_bytes);

/// The bytes at the start and at the end of a disk that a table of this kind occupies (GPT: up to the first
/// usable sector, and from behind the last usable one; MBR: sector 0 and the EBR sectors; none: nothing). As
/// encode_table places them on a disk of `disk_bytes`; throws kRefused where that has no place for them.
block::ExtentSet table_extents(const PartitionTable& table, std::uint64_t disk_bytes);

/// The same table for a disk of other sectors (table_sectors.cc): every partition keeps its bytes, boot code
/// and the rest of sector 0's first 512 bytes stay, a hybrid MBR's entries are counted anew, records of
/// logical partitions are laid anew when it is encoded. Throws kRefused, naming the partition, for what is
/// not made of whole sectors of the other size.
PartitionTable table_for_sectors(PartitionTable table, std::uint32_t sector_bytes);

namespace type_guid {
// UEFI 2.10 table 5-7; Discoverable Partitions Specification; ours was drawn once at random for this project.
extern const Guid kEfiSystem;   // c12a7328-f81f-11d2-ba4b-00a0c93ec93b
extern const Guid kLinuxData;   // 0fc63daf-8483-4772-8e79-3d69d8477de4
extern const Guid kLinuxSwap;   // 0657fd6d-a4ab-43c4-84e5-0933c84b4f4f
extern const Guid kRootX86_64;  // 4f68bce3-e8cd-4db1-96e7-fbcaf984b709
extern const Guid kXbootldr;    // bc13c2ff-59e6-4262-a352-b275fd6f7172
extern const Guid kBiosBoot;    // 21686148-6449-6e6f-744e-656564454649
extern const Guid kProfile;     // d0b2e641-5c1f-4f0a-9d43-7a6b8c15e972: the dupengine profile partition
/// A word for a person: "EFI system", "Linux root (x86-64)", "dupengine profile", or the GUID's text.
std::string describe(const Guid& type);
}  // namespace type_guid

}  // namespace dupengine::layout
