#pragma once
// What is written to a disk while it is copied: a program in the kernel marks each request that sends data in
// a bitmap when the device says that the request is done (write_tracker.bpf.c). So a block that was read
// before a write to it landed is named by a later take(). Nothing has to keep up: marking a block again costs
// nothing. Where the kernel could not run the program, which it counts, all of the disk is named.
//
// Writes through device-mapper, md, loop and filesystems are seen where they arrive, at the disk. A disk that
// can be written by another path than this device (multipath) is refused.

#include <memory>
#include <string>

#include "block/changes.h"

namespace dupengine::machine {

class WriteTracker {
  public:
    /// From here on writes to this whole disk are seen. Throws kRefused if it is not a whole disk;
    /// kUnsupported if this kernel lets nobody see them, and why.
    WriteTracker(const std::string& disk, std::uint64_t size_bytes);
    /// Whether this kernel lets writes be seen: empty, or why not.
    static std::string obstacle();
    ~WriteTracker();
    WriteTracker(const WriteTracker&) = delete;
    WriteTracker& operator=(const WriteTracker&) = delete;

    /// What was written since it was asked last, in whole granules; it is forgotten. At most so many extents:
    /// of more, what lies between them is named, too. Throws kIntegrity if something was written that cannot
    /// be placed.
    block::ExtentSet take(std::size_t most_extents = block::kMostChanges);
    /// How much of that take() would name which does not lie in `without`.
    std::uint64_t pending_bytes(const block::ExtentSet& without = {}) const;
    std::uint64_t granule_bytes() const { return granule_bytes_; }

  private:
    struct Program;
    WriteTracker(const std::string& disk, std::uint64_t size_bytes, int major, int minor);
    void load(int major, int minor);
    void map_bits();
    bool has_missed();

    std::string disk_;
    std::uint64_t size_bytes_, granule_bytes_;
    std::unique_ptr<Program> program_;
    std::uint64_t* bits_ = nullptr;  // shared with the kernel
    std::size_t words_ = 0;
    std::uint64_t missed_ = 0;
};

}  // namespace dupengine::machine
