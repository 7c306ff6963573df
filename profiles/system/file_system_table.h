#pragma once
// What a copied system mounts where: fstab(5) and the mount units (systemd.mount(5)) of its /etc, and which
// partition of its own disks each one means. Pure.

#include <span>
#include <string>
#include <vector>

#include "layout/describe.h"
#include "profiles/system/system.h"

namespace dupengine::profiles {

/// Undoes "\040", as fstab(5) and /proc write a blank.
std::string without_octal_escapes(const std::string& text);

struct MountLine {
    std::string device;  ///< as it is written: "UUID=...", "/dev/sda2", "tmpfs"
    std::string path;    ///< absolute; "/" too
    bool operator==(const MountLine&) const = default;
};

/// Lines that mount something at a path, in their order.
std::vector<MountLine> parse_fstab(const std::string& fstab);
/// The .mount units in /etc/systemd/system, by name.
std::vector<MountLine> mount_units(const Tree& tree);

/// Whether it names a disk or a part of one, here or elsewhere (and no tmpfs, no server).
bool is_block_device(const std::string& device);

/// Whether it says no more than a disk's name and a number: "/dev/sda2".
bool is_numbered(const std::string& device);

/// The partitions of these disks, of which the first one holds the root, that `device` may mean; more than
/// one if the label or identifier is not unique. Known are UUID, PARTUUID, LABEL and PARTLABEL in any of
/// their spellings. A name such as /dev/sda2, /dev/nvme0n1p2 or /dev/disk/by-id/...-part2 means the partition
/// of that number. Where `root_device`, the one that the root is mounted from, is such a name too, it is
/// known of which disk: the first, if both are names of the same; any other one, if they are not.
std::vector<PartitionId> partitions_meant(const std::string& device, const std::string& root_device,
                                          std::span<const layout::DiskDescription* const> disks);

/// Whether it is an EFI system partition or an extended boot loader partition.
bool is_boot_type(const layout::DiskDescription& disk, const layout::Partition& partition);
/// Where a boot partition is mounted if nothing says so: systemd-gpt-auto-generator(8) goes by its type.
std::string default_place_of(const layout::Partition& boot_partition, const Tree& root);
/// Where one of several boot partitions is seen that must not hide another.
std::string place_beside(PartitionId id);
/// Whether references are searched at, below or above this place (stage_references.cc).
bool may_hold_references(const std::string& path);

}  // namespace dupengine::profiles
