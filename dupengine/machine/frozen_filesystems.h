#pragma once
// Brings mounted filesystems to rest for a moment: what they hold in memory is written, their journals are
// empty, and who writes waits until they are thawed. That they thaw is promised by a process of its own,
// which was started before: it thaws them when the deadline passes, and when this process dies.
//
// While they are frozen nothing here may write to a file. Used by one thread.

#include <chrono>
#include <string>
#include <vector>

#include "base/fd.h"

namespace dupengine::machine {

class FilesystemFreezer {
  public:
    /// `roots`: a path into each, one on another last. Opens them and starts the guardian. Throws kRefused
    /// for one that cannot be opened.
    FilesystemFreezer(std::vector<std::string> roots, std::chrono::milliseconds deadline);
    /// Thaws what is frozen and ends the guardian.
    ~FilesystemFreezer();
    FilesystemFreezer(const FilesystemFreezer&) = delete;
    FilesystemFreezer& operator=(const FilesystemFreezer&) = delete;

    /// Writes out what waits, so that freezing has little to do. Nobody waits for it.
    void sync() const;
    /// All of them, the last first. Throws kRefused, with all thawed again, if one is frozen by somebody else
    /// or cannot be.
    void freeze();
    /// The first first. Throws kRefused if the guardian was quicker: then they were not at rest all the time.
    void thaw();
    /// Those whose kind cannot be frozen (FAT): only written out. Known after the first freeze().
    const std::vector<std::string>& not_frozen() const { return not_frozen_; }

  private:
    struct Filesystem {
        std::string root;
        Fd fd;
        bool can_freeze = true;
    };
    void start_guardian();
    void tell_guardian(char word);
    bool thaw_all();
    [[noreturn]] void throw_too_late() const;

    std::vector<Filesystem> filesystems_;
    std::vector<std::string> not_frozen_;
    std::chrono::milliseconds deadline_;
    Fd guardian_;  // a socket to it
    int guardian_pid_ = -1;
    bool* frozen_ = nullptr;  // one for each, shared with it
};

}  // namespace dupengine::machine
