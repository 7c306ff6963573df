#pragma once
// Lends one range of a disk to an outside program (resize2fs, e2fsck, mtools) as a device of its own: a loop
// device over exactly that range. The kernel keeps every write inside it, so this is the guard's arm for
// programs that cannot be handed a Target. Needs root. One thread.

#include <string>

#include "base/fd.h"
#include "block/guard.h"

namespace dupengine::block {

class LentRange {
  public:
    enum class Access { kRead, kWrite };
    /// Throws kRefused if `range` touches a region of `regions`; kUnsupported if this machine has no loop
    /// devices. `path` is the disk or image file.
    LentRange(const std::string& path, Extent range, const ProtectedRegions& regions, Access access,
              std::uint32_t sector_bytes);
    /// Detaches; the program's writes have reached the disk's driver by then only if it flushed them itself.
    ~LentRange();
    LentRange(const LentRange&) = delete;
    LentRange& operator=(const LentRange&) = delete;

    /// The device node, "/dev/loop7".
    const std::string& device() const { return device_; }
    /// Flushes and detaches, and throws if the flush fails. Call it when the program has written.
    void give_back();

  private:
    std::string device_;
    Fd fd_;
};

}  // namespace dupengine::block
