#pragma once
// A copied system on its disk or raw image file. Each partition is reached through a loop device that ends
// where it ends; ext file systems are mounted where no other process sees them; FAT goes through mtools. The
// disk is taken exclusively before the first write. The profile partition is never opened for writing.

#include <memory>
#include <optional>

#include "block/open.h"
#include "layout/describe.h"
#include "profiles/system/combined_tree.h"
#include "profiles/system/ext_identity.h"
#include "profiles/system/partition_loop.h"
#include "profiles/system/system.h"

namespace dupengine::profiles {

/// What may be done to a file system that was not left in order, before anything is planned.
enum class Repair {
    kNever,   ///< only look: it is read as it is
    kAllowed  ///< replay its journal, and put right what an earlier run left when it was cut (e2fsck)
};

class DiskSystem final : public System {
  public:
    struct Options {
        Repair repair = Repair::kNever;
        std::optional<unsigned> root_partition;  ///< where several could be the root
    };
    /// Throws kRefused if the disk is in use, half-copied, or holds no (or more than one) system; kIntegrity
    /// if a file system is damaged.
    DiskSystem(const std::string& disk, const Options& options);
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
    std::vector<unsigned> partition_numbers() const override;
    void open_for_writing(const std::vector<IdentifierChange>& identifiers) override;
    void set_identifiers(const std::vector<IdentifierChange>& identifiers) override;
    void close() override;

    /// Things a person should hear.
    const std::vector<std::string>& notes() const { return notes_; }
    unsigned root_partition() const { return root_; }

  private:
    struct Trees;
    void look_again(const block::Reader& disk);
    ExtState state_of(unsigned partition) const;
    void put_in_order(unsigned partition, Repair repair);
    void repair_what_was_cut(Repair repair);
    unsigned find_root(const std::optional<unsigned>& asked);
    bool holds_system(const layout::PartitionDescription& partition);
    void find_mounts();
    void find_written_mounts(std::vector<MountPoint>& mounts, std::set<unsigned>& placed);
    void find_boot_partitions(std::vector<MountPoint>& mounts, std::set<unsigned>& placed);
    std::string why_closed(unsigned number);
    std::string default_place_of_efi();
    Trees& trees();
    void let_go();  ///< flushes and drops the trees
    PartitionLoop loop_on(unsigned partition, Access access) const;
    const layout::PartitionDescription& partition(unsigned number) const;
    std::string label(unsigned number) const;
    void set_one(const IdentifierChange& change);

    std::string name_;
    std::vector<std::string> notes_;
    layout::DiskDescription description_;
    std::vector<Identifier> identifiers_;
    unsigned root_ = 0;
    std::vector<MountPoint> mounts_;
    std::vector<Unsearchable> unsearchable_;
    Access access_ = Access::kRead;
    std::unique_ptr<block::Target> target_;  // held while writing
    std::unique_ptr<Trees> trees_;
};

}  // namespace dupengine::profiles
