#pragma once
// The kernel's own device node of one partition. Reads sysfs only; the root is a parameter for tests.

#include <cstdint>
#include <optional>
#include <string>

#include "block/extent.h"

namespace dupengine::profiles {

/// Where the kernel keeps what it knows about block devices, and the nodes for them.
struct KernelRoots {
    std::string sys = "/sys";
    std::string dev = "/dev";
};

struct KernelPartition {
    std::string node;                 ///< "/dev/sda128"
    std::uint64_t device_number = 0;  ///< what the node must lead to
};

/// The partition that the kernel sees at exactly `extent` of the disk with this number; empty if it sees none
/// there (it has not read the table, or reads it differently).
std::optional<KernelPartition> find_kernel_partition(std::uint64_t disk_number, block::Extent extent,
                                                     const KernelRoots& roots = {});

/// The disk that the kernel has this partition on; empty if it is none.
std::optional<std::uint64_t> disk_of_kernel_partition(std::uint64_t partition_number,
                                                      const KernelRoots& roots = {});

}  // namespace dupengine::profiles
