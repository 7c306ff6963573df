#pragma once
// The system that runs: its root is mounted, and the identifiers of the disks below it are changed while they
// are in use. For a duplicate of memory and CPU state that has just woken up as its source's image: what the
// kernel knows of the disks is the source's, so tables are read from the media (running_disk.h); all other
// user space is frozen, so nobody else writes meanwhile. Whoever is not in that place uses DiskSystem.
//
// What is changed here can be finished or undone on the same disks when they do not run (disk_system.h), and
// the other way round: the same journal at the same place, the same mounts, the same nodes. Therefore a part
// of the system is seen as DiskSystem sees it: each file system by itself, without what is mounted above its
// folders; ext, XFS and FAT only; the journal in the root's file system, whatever is mounted on /var.
//
//   mounted                    a mount of our own of the same file system (open_tree(2)); the kernel keeps
//                              every view of it the same
//   not mounted, but searched  (an ESP that is mounted on demand) mounted for ourselves, from the kernel's
//                              node of the partition; only looked at until open_for_writing()
//   anything else there        named in unsearchable()
//
// Nothing waits for an automount: the daemon behind it may be frozen.

#include <map>
#include <memory>
#include <set>

#include "profiles/system/combined_tree.h"
#include "profiles/system/dir_tree.h"
#include "profiles/system/own_mounts.h"
#include "profiles/system/running_disk.h"

namespace dupengine::profiles {

class RunningSystem final : public System {
  public:
    struct Options {
        std::string root = "/";  ///< where the root is mounted; another folder in tests
        block::Media media = {};
    };
    /// Writes nothing. Throws kRefused if a disk cannot be used (running_disk.h) or is given twice, if two
    /// cannot be told apart, if the root is no ext or XFS file system on a partition of one of them, or if a
    /// mounted partition of theirs is not in their tables.
    RunningSystem(const std::vector<std::string>& disks, const Options& options);
    explicit RunningSystem(const std::vector<std::string>& disks) : RunningSystem(disks, Options{}) {}
    ~RunningSystem() override;

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
    /// Throws kRefused if a part is mounted read-only, another run is under way, or an identifier could not
    /// be written.
    void open_for_writing(const std::vector<IdentifierChange>& identifiers) override;
    void set_identifiers(const std::vector<IdentifierChange>& identifiers) override;
    void close() override;

    /// Things a person should hear.
    const std::vector<std::string>& notes() const { return notes_; }

  private:
    struct Trees;
    PartitionId find_root();
    void learn_identifiers();
    void ask_kernel(Identifier& identifier);
    std::optional<PartitionId> partition_of(std::uint64_t device_number) const;
    void find_mounts();
    void find_present_mounts();
    void find_absent_mounts();
    void find_boot_partition(PartitionId id);
    void refuse_unknown_partition(const OwnMount& mount) const;
    void place_or_close(const std::string& path, PartitionId id);
    void close_off(const std::string& path, const std::string& why);
    bool is_settled(PartitionId id) const { return id == root_ || settled_.contains(id); }
    std::string why_closed(PartitionId id);
    Fd open_part(PartitionId id);
    Trees& trees();
    void let_go();

    const layout::PartitionDescription& partition(PartitionId id) const {
        return disks_.at(id.disk).partition(id.number);
    }
    std::string label(PartitionId id) const { return disks_.at(id.disk).label(id.number); }
    std::vector<const layout::DiskDescription*> descriptions() const;
    std::string of_disk(std::size_t disk) const;
    std::vector<IdentifierChange> of_one(const std::vector<IdentifierChange>& changes,
                                         std::size_t disk) const;

    std::string name_, folder_;
    std::vector<std::string> notes_;
    std::vector<RunningDisk> disks_;
    std::vector<OwnMount> own_mounts_;
    std::map<PartitionId, std::string> mounted_at_;  // what is mounted whole, and where
    std::vector<Identifier> identifiers_;
    PartitionId root_;
    std::vector<MountPoint> mounts_;
    std::set<PartitionId> settled_;  // of which it is known where they stand, or why not
    std::vector<Unsearchable> unsearchable_;
    bool writing_ = false;
    Fd lock_;
    std::unique_ptr<Trees> trees_;
};

}  // namespace dupengine::profiles
