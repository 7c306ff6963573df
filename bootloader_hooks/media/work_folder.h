#pragma once
// A folder for what is on its way; it goes away with this.

#include <string>

namespace dupengine::boot {

/// Not in /tmp, which is often small. Nobody else may look in.
class WorkFolder {
  public:
    /// Throws kTargetIo.
    WorkFolder();
    ~WorkFolder();
    WorkFolder(const WorkFolder&) = delete;
    WorkFolder& operator=(const WorkFolder&) = delete;
    std::string file(const std::string& name) const { return path_ + "/" + name; }

  private:
    std::string path_ = "/var/tmp/dupengine-media-XXXXXX";
};

}  // namespace dupengine::boot
