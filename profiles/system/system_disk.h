#pragma once
// One disk, or raw image file, of a copied system: what it carries, and the changes of its identifiers. Each
// partition is reached through a loop device that ends where it ends. The disk is taken exclusively before
// the first write; the profile partition is never opened for writing. Which of its file systems make up the
// system is not its business (disk_system.h).

#include <memory>

#include "block/open.h"
#include "layout/describe.h"
#include "profiles/system/ext_identity.h"
#include "profiles/system/partition_loop.h"
#include "profiles/system/system.h"

namespace dupengine::profiles {

class SystemDisk {
  public:
    /// Looks and writes nothing. Throws kRefused if the disk is in use, half-copied, or has no table that can
    /// be used.
    explicit SystemDisk(const std::string& path);

    const std::string& name() const { return name_; }
    const layout::DiskDescription& description() const { return description_; }
    /// As if it were the first disk, and the only one.
    const std::vector<Identifier>& identifiers() const { return identifiers_; }
    /// Throws kRefused if there is none such.
    const layout::PartitionDescription& partition(unsigned number) const;
    /// "/dev/sda, partition 2"
    std::string label(unsigned number) const;

    PartitionLoop loop_on(unsigned number, Access access) const;
    ExtState ext_state(unsigned number) const;
    /// Of a file system of Linux: nothing is to be replayed.
    bool was_left_in_order(unsigned number) const;
    /// The ext partitions in which an earlier run was cut while it changed the UUID.
    std::vector<unsigned> cut_uuid_changes() const;
    /// Replays the journal of a file system of Linux, or completes the change of its UUID, and returns which
    /// it was, for a person. Throws kIntegrity if it is damaged beyond that.
    std::string put_in_order(unsigned number) const;

    void look_again();
    /// Takes the disk; of it, only what these changes need can be written.
    void claim(const std::vector<IdentifierChange>& changes);
    /// Checks, and repairs, the file systems whose UUID will change.
    void check_contents(const std::vector<IdentifierChange>& changes) const;
    /// A change inside a partition; the disk is claimed for it. Nothing for one of the table.
    void set_in_partition(const IdentifierChange& change);
    /// All changes of the table at once.
    void set_in_table(const std::vector<IdentifierChange>& changes);
    /// Flushes and gives the disk back.
    void release();

  private:
    void look_at(const block::Reader& disk);

    std::string name_;
    layout::DiskDescription description_;
    std::vector<Identifier> identifiers_;
    std::unique_ptr<block::Target> target_;  // while it is claimed
};

}  // namespace dupengine::profiles
