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
        std::optional<unsigned> root_partition;  ///< where several could be the root
    };
    /// Writes nothing but what options.cut_uuid allows. Throws kRefused if the disk is in use, half-copied,
    /// or holds no (or more than one) system; kIntegrity if a file system is damaged.
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

    /// The partitions in which an earlier run was cut while it changed the UUID.
    static std::vector<unsigned> cut_uuid_changes(const std::string& disk);
    /// The partitions of the system whose journal has not been replayed: what is read is from before it.
    const std::vector<unsigned>& unreplayed() const { return unreplayed_; }
    /// Replays them (e2fsck -p) and looks again. Throws kIntegrity if one is damaged.
    void replay();

    /// The partition that a person means by its number, "PARTLABEL=x", "PARTUUID=x", or either without its
    /// key. Throws kRefused unless it is exactly one.
    unsigned partition_named(const std::string& given) const;

    /// Things a person should hear.
    const std::vector<std::string>& notes() const { return notes_; }
    unsigned root_partition() const { return root_; }

  private:
    struct Trees;
    void look_again(const block::Reader& disk);
    ExtState state_of(unsigned partition) const;
    void put_in_order(unsigned partition);
    void complete_what_was_cut(CutUuid how);
    void look_at_files();
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
    std::vector<unsigned> unreplayed_;
    unsigned root_ = 0;
    std::vector<MountPoint> mounts_;
    std::vector<Unsearchable> unsearchable_;
    Access access_ = Access::kRead;
    std::unique_ptr<block::Target> target_;  // held while writing
    std::unique_ptr<Trees> trees_;
};

}  // namespace dupengine::profiles
