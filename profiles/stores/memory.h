#pragma once
// A profile store in memory that the kernel was told to leave alone (memmap=2M$0x18000000 on its command
// line): what a machine is survives in it while everything else of its memory becomes another machine's. It
// lives as long as the machine has power; after that it has to be made anew. The range is 2 MiB, with the two
// slots of slots.h, and is read and written through /dev/mem.
//
// A wrong address would be somebody's memory, or a device. So before anything is read or written, the
// kernel's map (/proc/iomem) must call the whole range "Reserved", with nothing inside it or across its ends;
// and since firmware reserves ranges for itself under the same name, the firmware's own map
// (/sys/firmware/memmap) must call it "System RAM": memory that only the command line took away.

#include "profiles/store.h"

namespace dupengine::profiles {

/// Where the kernel shows memory; others in tests.
struct MemoryPaths {
    std::string memory = "/dev/mem";
    std::string kernel_map = "/proc/iomem";
    std::string firmware_map = "/sys/firmware/memmap";
};

/// The 2 MiB from an address, "0x18000000". Throws kUsage unless it is hexadecimal and on a page's border.
block::Extent parse_memory_address(const std::string& address);

/// Every use of the store throws kRefused as check_memory_range().
std::unique_ptr<ProfileStore> memory_store(const std::string& address, MemoryPaths paths = {});

/// Throws kRefused with the reason unless the range is nobody's.
void check_memory_range(block::Extent range, const MemoryPaths& paths);

/// Zeroes the range and writes `first` into it. What stands there is no store unless it is a good one: after
/// a start, memory holds anything. Throws kRefused if there is a profile already.
void init_memory_store(const std::string& address, const StoredProfile& first, const MemoryPaths& paths = {});
/// The refusals of init_memory_store alone; writes nothing.
void check_new_memory_store(const std::string& address, const MemoryPaths& paths = {});

}  // namespace dupengine::profiles
