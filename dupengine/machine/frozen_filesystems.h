#pragma once
// Brings mounted filesystems to rest for a moment: what they hold in memory is written, their journals are
// empty, and who writes waits until they are thawed. That they thaw is promised by processes of their own,
// one for each filesystem, started before anything is frozen: each thaws its own when the deadline passes,
// and when this process dies. They are made so that what ends this process does not end them (their name,
// their cgroup, the order in which the kernel kills for want of memory).
//
// While one of these lives nothing here may write to a file. Used by one thread.

#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

#include "base/fd.h"

namespace dupengine::machine {

/// One mount of a filesystem (layout/in_use.h).
struct MountPlace {
    std::string path;
    std::uint64_t id = 0;          ///< of the mount: what stands at the path has to be it
    std::uint64_t filesystem = 0;  ///< its device number
    bool operator==(const MountPlace&) const = default;
};

/// The filesystems of these mounts, each once; open from here on. One that stands on another comes after it.
class OpenFilesystems {
  public:
    /// Throws kRefused for one that cannot be reached by any of its mounts: it is hidden by another.
    explicit OpenFilesystems(const std::vector<MountPlace>& mounts);

    struct Filesystem {
        std::string path;
        Fd fd;
    };
    const std::vector<Filesystem>& all() const { return all_; }
    /// Writes out what waits, so that freezing has little to do. Nobody waits for it. Throws kSourceIo.
    void sync() const;

  private:
    std::vector<Filesystem> all_;
};

class FrozenFilesystems {
  public:
    enum class Begin { kNow, kLater };
    /// Starts the guardians, from when on the deadline counts, and freezes; or leaves that to freeze().
    FrozenFilesystems(const OpenFilesystems& filesystems, std::chrono::milliseconds deadline,
                      Begin begin = Begin::kNow);
    /// Freezes them, the last first; those whose kind cannot be frozen (FAT) are written out. Throws
    /// kRefused, with all thawed again, if one is frozen by somebody else, or the deadline passed.
    void freeze();
    /// Thaws what is frozen.
    ~FrozenFilesystems();
    FrozenFilesystems(const FrozenFilesystems&) = delete;
    FrozenFilesystems& operator=(const FrozenFilesystems&) = delete;

    /// The first first. False if the deadline passed: then they were not at rest all the time.
    bool thaw();
    /// Those that were only written out.
    const std::vector<std::string>& not_frozen() const { return not_frozen_; }

  private:
    struct Guardian {
        Fd socket;  // closed: it ends
        int pid = -1;
    };
    Guardian start_guardian(std::size_t number) const;
    void freeze_one(std::size_t number);
    void end_guardians();

    const OpenFilesystems& filesystems_;
    std::chrono::milliseconds deadline_;
    std::vector<Guardian> guardians_;
    std::vector<bool> was_frozen_;
    std::vector<std::string> not_frozen_;
    bool* frozen_ = nullptr;  // one for each, shared with its guardian
};

}  // namespace dupengine::machine
