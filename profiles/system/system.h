#pragma once
// A copied system that is not running: its files, and the identifiers of the disk it is on. Everything that
// takes up a role works on this; behind it is a disk (disk_system.h), a mounted folder (folder_system.h), or
// memory (tests). Nothing is written before open_for_writing(). Used by one thread.

#include <set>
#include <string>
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

struct Identifier {
    IdentifierKind kind;
    unsigned partition = 0;  ///< 0: the disk itself
    std::string value;       ///< lower case; FAT: "1234-ABCD"; signature: 8 hexadecimal digits
    std::string where;       ///< for a person: "partition 2 (ext4)"
    std::string fixed;       ///< why it cannot be changed; empty if it can
};

struct IdentifierChange {
    IdentifierKind kind;
    unsigned partition = 0;
    std::string before, after;
    std::string where;
};

/// Which partition stands where in the system's tree.
struct MountPoint {
    std::string path;
    unsigned partition = 0;
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
    /// The numbers of the partitions that are there; MBR's PARTUUIDs are made of them.
    virtual std::vector<unsigned> partition_numbers() const = 0;

    /// Takes the system for itself, checks what will be changed (a damaged file system: kIntegrity, nothing
    /// was changed), and makes the trees writable.
    virtual void open_for_writing(const std::vector<IdentifierChange>& identifiers) = 0;
    /// Changes identifiers on the disk, those of the table last; one that is changed already is left.
    /// Afterwards the trees can be used again.
    virtual void set_identifiers(const std::vector<IdentifierChange>& identifiers) = 0;
    /// Flushes and lets go; the trees are gone.
    virtual void close() = 0;
};

}  // namespace dupengine::profiles
