#pragma once
// An overlay as a regular file for outside programs (e2fsck, resize2fs, ntfsresize): a FUSE file system of
// one file, served by a thread of this process and mounted nowhere: no mount table shows it, and it is gone
// with the process, however that ends. A program opens path() while this lives. It may cut the file, which
// changes nothing but the size that programs see. Needs root. One thread.

#include <exception>
#include <memory>
#include <string>

#include "block/overlay.h"

namespace dupengine::block {

class LentFile {
  public:
    /// Throws kUnsupported if this machine has no FUSE, or this user may not use it. `overlay` outlives it.
    explicit LentFile(Overlay& overlay);
    /// Ends the service; every write of a program has reached the overlay when the program's write returned.
    ~LentFile();
    LentFile(const LentFile&) = delete;
    LentFile& operator=(const LentFile&) = delete;

    /// "/proc/PID/fd/N"
    const std::string& path() const { return path_; }
    enum class Program { kSucceeded, kFailed };
    /// When a program has ended: throws the first error that it met here (the source cannot be read, no room
    /// for changes), which says more than its own complaint. Of one that succeeded only errors of writes
    /// count: what could not be read may be what the kernel read ahead, and nobody wanted.
    void rethrow_error(Program program) const;

  private:
    struct Service;
    std::unique_ptr<Service> service_;
    std::string path_;
};

}  // namespace dupengine::block
