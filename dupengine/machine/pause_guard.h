#pragma once
// The promise that a pause ends: when a deadline passes this process is ended, by a timer of the kernel's
// (SIGALRM). What it has frozen is thawed then: processes by the kernel (snapshot_device.h), filesystems by
// their guardians (frozen_filesystems.h). It cannot fail, and needs no process of its own: one that is exempt
// from the freeze beside this one makes the kernel complain when it thaws.
//
// One at a time, in a process with one thread.

#include <chrono>

namespace dupengine::machine {

class PauseGuard {
  public:
    /// From here on.
    explicit PauseGuard(std::chrono::milliseconds deadline);
    /// Nobody is ended any more.
    ~PauseGuard();
    PauseGuard(const PauseGuard&) = delete;
    PauseGuard& operator=(const PauseGuard&) = delete;
    void end() noexcept;

    /// What the kernel does then cannot be ended in its middle, and what comes of it may be another machine:
    /// a deadline that passes meanwhile counts when release() is called, and never if end() is.
    void hold() noexcept;
    void release() noexcept;
};

}  // namespace dupengine::machine
