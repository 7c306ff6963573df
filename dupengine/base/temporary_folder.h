#pragma once
// A folder for what is on its way, into which only we may look. It goes with this object. What a process left
// that was killed goes when the next folder is made beside it: who is at work holds a lock in his. Nothing is
// removed but real folders of this user that have this name and such a lock, and nothing that is mounted in
// one. Used by one thread at a time.

#include <string>

#include "base/error.h"
#include "base/fd.h"

namespace dupengine {

/// $TMPDIR; `otherwise` where it is not set.
std::string temporary_place(const std::string& otherwise);

class TemporaryFolder {
  public:
    /// PLACE/dupengine-KINDXXXXXX. Throws `code` if it cannot be made.
    TemporaryFolder(const std::string& place, const std::string& kind, Code code);
    /// Removes it with all that is in it.
    ~TemporaryFolder();
    TemporaryFolder(const TemporaryFolder&) = delete;
    TemporaryFolder& operator=(const TemporaryFolder&) = delete;

    const std::string& path() const { return path_; }
    std::string file(const std::string& name) const { return path_ + "/" + name; }

  private:
    std::string path_;
    Fd lock_;
};

}  // namespace dupengine
