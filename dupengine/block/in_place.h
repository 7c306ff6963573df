#pragma once
// Storage that others use at this moment, for those few bytes that are changed, or have to be known, all the
// same: a disk with mounted partitions, past every cache; one such partition, through the very cache that its
// file system uses; physical memory. Nothing here is exclusive, so whoever opens it has to know that nobody
// else changes these bytes meanwhile: a system that runs while all its other processes are frozen
// (profiles/system/running_system.h), or a lock (profiles/stores/memory.h). All else uses open.h.

#include <functional>
#include <map>
#include <memory>
#include <string>

#include "block/guard.h"
#include "block/held_back.h"

namespace dupengine::block {

/// The disk as the medium has it: every byte is asked of the device (O_DIRECT), whatever its size and
/// alignment, and nothing that the kernel still remembers of the disk, or of another one in its place, can
/// answer. Throws kRefused if it is no block device or cannot be read like that; kSourceIo.
std::unique_ptr<Reader> open_medium(const std::string& disk);
/// The same, for writing. What is written is on the device when flush() returns, and the kernel forgets what
/// it remembered of these sectors. Partitions of the disk may be mounted.
std::unique_ptr<Target> open_disk_in_place(const std::string& disk, ProtectedRegions regions);

/// How the disks of a system that runs from them are looked at and changed.
struct Media {
    std::function<std::unique_ptr<Reader>(const std::string& disk)> open = open_medium;
    std::function<std::unique_ptr<Target>(const std::string& disk, ProtectedRegions regions)> open_in_place =
        open_disk_in_place;
};
/// The same, where these disks are shown as they will be when what is held back is on them as well.
Media media_with(std::map<std::string, std::shared_ptr<HeldBytes>> held);

/// A partition that may be mounted or in use as swap space, by the kernel's own node of it. Reads and writes
/// go through the page cache that its file system reads and writes its superblock through, so neither undoes
/// the other; of a write, exactly the bytes given are touched. Throws kRefused if this kernel lets nobody
/// write to what is mounted.
std::unique_ptr<Target> open_partition_in_place(const std::string& node, ProtectedRegions regions);

/// A range of physical memory that is nobody's: its first byte is byte 0. `memory` is /dev/mem, or a file
/// (tests). Whether the range is nobody's is the caller's business. Throws kRefused if it cannot be opened.
std::unique_ptr<Reader> open_memory(const std::string& memory, Extent range, const std::string& name);
/// The same for writing, and locked against others who do this (kRefused).
std::unique_ptr<Target> open_memory_in_place(const std::string& memory, Extent range,
                                             const std::string& name);

}  // namespace dupengine::block
