#pragma once
// A copied system on its disks or raw image files: one, or several that belong together. Ext file systems are
// mounted where no other process sees them; FAT goes through mtools; all of them through loop devices
// (system_disk.h). The disk that holds the root is the first, whatever the order they are given in.

#include <memory>
#include <optional>

#include "profiles/system/combined_tree.h"
#include "profiles/system/system_disk.h"

namespace dupengine::profiles {

/// What may be done to a file system in which an earlier run was cut while it changed the UUID: until that is
/// completed, nothing in it can be read for sure.
enum class CutUuid {
    kRefuse,   ///< only look
    kComplete  ///< as the mark in its superblock says (ext_identity.h)
};

class DiskSystem final : public System {
  public:
    struct Options {
        CutUuid cut_uuid = CutUuid::kRefuse;
        std::string root_partition;  ///< where several could be the root: as partition_named() takes it
    };
    /// Writes nothing but what options.cut_uuid allows. Throws kRefused if a disk is in use, half-copied or
    /// given twice, if two cannot be told apart, or if they hold no (or more than one) system; kIntegrity if
    /// a file system is damaged.
    DiskSystem(const std::vector<std::string>& disks, const Options& options);
    ~DiskSystem() override;

    const std::string& name() const override { return name_; }
    Tree& root() override;
    Tree& tree() override;
    std::string file_system_of(const std::string& path) override;
    std::vector<std::string> boot_folders() override;
    std::vector<MountPoint> mounts() override { return mounts_; }
    void choose_mounts(std::vector<MountPoint> mounts) override;
    const std::vector<Unsearchable>& unsearchable() const override { return unsearchable_; }
    const std::vector<Identifier>& identifiers() const override { return identifiers_; }
    bool reaches_storage() const override { return true; }
    std::vector<PartitionId> partitions() const override;
    std::vector<std::string> disk_names() const override;
    void choose_order(const std::vector<std::size_t>& order) override;
    void open_for_writing(const std::vector<IdentifierChange>& identifiers) override;
    void set_identifiers(const std::vector<IdentifierChange>& identifiers) override;
    void close() override;

    /// The partitions in which an earlier run was cut while it changed the UUID, for a person.
    static std::vector<std::string> cut_uuid_changes(const std::vector<std::string>& disks);
    /// The partitions of the system whose journal has not been replayed, for a person: what is read is from
    /// before it.
    std::vector<std::string> unreplayed() const;
    /// Replays them (e2fsck -p) and looks again. Throws kIntegrity if one is damaged.
    void replay();

    /// The partition that a person means by its number, "DISK:NUMBER", "PARTLABEL=x", "PARTUUID=x", or either
    /// without its key. Throws kRefused unless it is exactly one.
    PartitionId partition_named(const std::string& given) const;

    /// Things a person should hear.
    const std::vector<std::string>& notes() const { return notes_; }

  private:
    struct Trees;
    void look_again();
    void complete_what_was_cut(CutUuid how);
    void look_at_files();
    PartitionId find_root(const std::string& asked);
    bool holds_system(PartitionId partition);
    void find_mounts();
    void find_written_mounts(std::vector<MountPoint>& mounts, std::set<PartitionId>& placed);
    void find_boot_partitions(std::vector<MountPoint>& mounts, std::set<PartitionId>& placed);
    std::string why_closed(PartitionId partition);
    Trees& trees();
    void let_go();  ///< flushes and drops the trees

    const layout::PartitionDescription& partition(PartitionId id) const {
        return disks_.at(id.disk).partition(id.number);
    }
    std::string label(PartitionId id) const { return disks_.at(id.disk).label(id.number); }
    PartitionLoop loop_on(PartitionId id, Access access) const {
        return disks_.at(id.disk).loop_on(id.number, access);
    }
    std::vector<const layout::DiskDescription*> descriptions() const;
    /// " of /dev/sdb" where there is more than one disk.
    std::string of_disk(std::size_t disk) const;
    std::string spelled(PartitionId id) const;  ///< "partition 2 of /dev/sdb"
    std::vector<IdentifierChange> of_one(const std::vector<IdentifierChange>& changes,
                                         std::size_t disk) const;

    std::string name_;
    std::vector<std::string> notes_;
    std::vector<SystemDisk> disks_;
    std::vector<Identifier> identifiers_;
    std::vector<PartitionId> unreplayed_;
    unsigned root_ = 0;  ///< of the first disk
    std::vector<MountPoint> mounts_;
    std::vector<Unsearchable> unsearchable_;
    Access access_ = Access::kRead;
    std::unique_ptr<Trees> trees_;
};

}  // namespace dupengine::profiles
