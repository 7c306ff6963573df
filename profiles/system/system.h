#pragma once
// A copied system that is not running: its files, and the identifiers of the disks it is on. Everything that
// takes up a role works on this; behind it are disks (disk_system.h), a mounted folder (folder_system.h), or
// memory (tests). Nothing is written before open_for_writing(). Used by one thread.

#include <set>
#include <string>
#include <tuple>
#include <vector>

#include "profiles/system/tree.h"

namespace dupengine::profiles {

enum class IdentifierKind {
    kFilesystemUuid,  ///< ext2, ext3, ext4
    kFatId,           ///< volume id of FAT
    kSwapUuid,
    kPartitionGuid,  ///< GPT: PARTUUID
    kDiskGuid,       ///< GPT
    kDiskSignature   ///< MBR; every PARTUUID of the disk is made of it
};
const char* identifier_kind_name(
    IdentifierKind kind);  ///< "fs_uuid", "fat_id", "swap_uuid", "part_guid", ...
IdentifierKind identifier_kind_of(const std::string& name);  ///< throws kIntegrity

/// A partition of one of the system's disks. The disks are counted from 0; the first one holds the root.
struct PartitionId {
    /// Of the first disk: where there is one disk, a number says it all.
    PartitionId(unsigned of_first_disk = 0) : number(of_first_disk) {}
    PartitionId(std::size_t of_disk, unsigned its_number) : disk(of_disk), number(its_number) {}
    std::size_t disk = 0;
    unsigned number = 0;  ///< 0: the disk itself
    bool operator==(const PartitionId&) const = default;
    bool operator<(const PartitionId& other) const {
        return std::tie(disk, number) < std::tie(other.disk, other.number);
    }
};

struct Identifier {
    IdentifierKind kind;
    PartitionId partition;
    std::string value;  ///< lower case; FAT: "1234-ABCD"; signature: 8 hexadecimal digits
    std::string where;  ///< for a person: "partition 2 (ext4)"; with several disks, of which one
    std::string fixed;  ///< why it cannot be changed; empty if it can
};

struct IdentifierChange {
    IdentifierKind kind;
    PartitionId partition;
    std::string before, after;
    std::string where;
};

/// Which partition stands where in the system's tree.
struct MountPoint {
    std::string path;
    PartitionId partition;
    bool operator==(const MountPoint&) const = default;
};

/// A part of the system's tree that may hold references and cannot be opened.
struct Unsearchable {
    std::string path;
    std::string why;  ///< "partition 2 (xfs), which cannot be read here"
};

class System {
  public:
    virtual ~System() = default;

    virtual const std::string& name() const = 0;
    /// The root file system alone, and all of it joined. Valid until the next open_, close_ or choose_ call.
    virtual Tree& root() = 0;
    virtual Tree& tree() = 0;
    /// Which file system of the tree holds `path`: paths with the same answer share its free room.
    virtual std::string file_system_of(const std::string& path) = 0;
    /// Folders of the tree that hold what boots: "/boot", "/efi", ...
    virtual std::vector<std::string> boot_folders() = 0;
    virtual std::vector<MountPoint> mounts() = 0;
    /// Mounts as an earlier run had it; fstab may be half-changed.
    virtual void choose_mounts(std::vector<MountPoint> mounts) = 0;

    /// What of /boot, /efi, /etc, /usr/lib and /usr/local/lib is mounted from where nothing can be read.
    virtual const std::vector<Unsearchable>& unsearchable() const = 0;

    /// Empty where only files can be reached.
    virtual const std::vector<Identifier>& identifiers() const = 0;
    virtual bool reaches_storage() const = 0;
    /// The partitions that are there; MBR's PARTUUIDs are made of their numbers.
    virtual std::vector<PartitionId> partitions() const = 0;
    /// What the disks are called, the root's first; empty where only files can be reached.
    virtual std::vector<std::string> disk_names() const = 0;
    /// The disk that was the order[i]-th becomes the i-th; the first stays the first. What was said of
    /// partitions before counts no more.
    virtual void choose_order(const std::vector<std::size_t>& order) = 0;

    /// Takes all disks for itself, checks what will be changed (a damaged file system: kIntegrity, nothing
    /// was changed), and makes the trees writable.
    virtual void open_for_writing(const std::vector<IdentifierChange>& identifiers) = 0;
    /// Changes identifiers on the disks, those of the tables last; one that is changed already is left.
    /// Afterwards the trees can be used again.
    virtual void set_identifiers(const std::vector<IdentifierChange>& identifiers) = 0;
    /// Flushes and lets go; the trees are gone.
    virtual void close() = 0;
};

/// The GUID or signature of every disk, in their order; empty where only files can be reached.
std::vector<std::string> disk_identities(const System& system);
/// The journal knows the disks of a set by their identifiers, and so does a person. Throws kRefused if two
/// have the same one.
void refuse_twins(const System& system);
/// Throws kRefused if two names lead to the same storage.
void refuse_given_twice(const std::vector<std::string>& disks);
/// "/dev/sda, /dev/sdb"
std::string joined(const std::vector<std::string>& names);
/// As an option takes it and a message says it: "2"; with several disks "/dev/sdb:2".
std::string partition_option(const std::vector<std::string>& disk_names, PartitionId partition);

}  // namespace dupengine::profiles
