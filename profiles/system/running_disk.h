#pragma once
// One disk of a system that runs from it: its table and identifiers as the medium has them, past every cache
// of a kernel that may take it for another disk (the restored image of a source), and the few bytes of them
// that can be changed while partitions are mounted:
//
//   FAT volume id    through the kernel's own node of the partition: that is the cache in which a mounted FAT
//                    finds its boot sector when it marks it clean, so what it writes then has the new one
//   swap UUID        on the raw disk: the kernel lets nobody write to swap space in use through its node, and
//                    has no use for the header itself; what the node's cache has of it is dropped
//   table            on the raw disk, past its cache, which forgets it then; the kernel read it when it
//                    started, and reads it again when it starts
//
// Everything else of the disk is protected by the guard, the profile partition before all. UUIDs of ext are
// not its business (mounted_ext.h). All other user space is frozen, so nobody else changes these bytes.

#include <map>
#include <memory>
#include <optional>

#include "block/in_place.h"
#include "layout/describe.h"
#include "profiles/stores/kernel_partition.h"
#include "profiles/system/system.h"

namespace dupengine::profiles {

class RunningDisk {
  public:
    /// Looks and writes nothing. Throws kRefused if it is no block device, half-copied, or has no table that
    /// can be used.
    RunningDisk(const std::string& path, block::Media media);

    const std::string& name() const { return name_; }
    /// As the medium has it.
    std::unique_ptr<block::Reader> medium() const { return media_.open(name_); }
    const layout::DiskDescription& description() const { return description_; }
    /// As if it were the first disk, and the only one. Of what the running kernel does not know at this place
    /// all is fixed: it is no part of the system that runs.
    const std::vector<Identifier>& identifiers() const { return identifiers_; }
    /// Throws kRefused if there is none such.
    const layout::PartitionDescription& partition(unsigned number) const;
    /// "/dev/sda, partition 2"
    std::string label(unsigned number) const;
    /// The kernel's own node of it; empty if it has none for exactly this place.
    std::optional<KernelPartition> node_of(unsigned number) const;
    /// Of that node's number; empty if it is no partition of this disk.
    std::optional<unsigned> number_of(std::uint64_t device_number) const;

    /// From the medium.
    void look_again();
    /// Throws kRefused if the kernel would not let these be written. Writes nothing.
    void check_writable(const std::vector<IdentifierChange>& changes) const;
    /// A change of FAT or swap; nothing for any other kind.
    void set_in_partition(const IdentifierChange& change) const;
    /// All changes of the table at once.
    void set_in_table(const std::vector<IdentifierChange>& changes) const;
    /// Throws kIntegrity unless the medium holds what these changes made, those of ext excepted.
    void check_medium(const std::vector<IdentifierChange>& changes);

  private:
    KernelPartition checked_node(unsigned number) const;
    std::unique_ptr<block::Target> open_fat(unsigned number) const;
    std::unique_ptr<block::Target> open_disk(const std::vector<IdentifierChange>& changes) const;
    void fix_unknown_partitions();

    std::string name_;
    block::Media media_;
    std::uint64_t device_number_ = 0;
    layout::DiskDescription description_;
    std::vector<Identifier> identifiers_;
    std::map<unsigned, KernelPartition> nodes_;
};

}  // namespace dupengine::profiles
