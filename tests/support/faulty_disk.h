#pragma once
// A real block device that fails at one sector: a file behind QEMU's blkdebug, exported by FUSE, under a loop
// device.

#include <cstdint>
#include <memory>
#include <string>

#include "tests/support/scratch.h"

namespace dupengine::test {

struct Fault {
    std::uint64_t sector = 0;  ///< of 512 bytes
    bool on_read = false;
    bool on_write = false;
};

class FaultyDisk {
  public:
    FaultyDisk(const ScratchFolder& folder, const std::string& file, const Fault& fault);
    ~FaultyDisk();
    FaultyDisk(const FaultyDisk&) = delete;
    FaultyDisk& operator=(const FaultyDisk&) = delete;
    const std::string& path() const { return loop_->path(); }

  private:
    std::string pid_file_;
    std::unique_ptr<LoopDevice> loop_;
};

}  // namespace dupengine::test
