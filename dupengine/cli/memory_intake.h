#pragma once
// The memory that comes with a disk of a machine that is duplicated while it runs: taken in a thread of its
// own, while the disk's rounds go on.

#include <atomic>
#include <exception>
#include <mutex>
#include <thread>

#include "base/progress.h"
#include "machine/received_memory.h"
#include "wire/remote_reader.h"

namespace dupengine::cli {

class MemoryIntake {
  public:
    /// `reader` offers memory, and outlives it. Throws kUnsupported if there is no room for it.
    explicit MemoryIntake(const wire::RemoteReader& reader);

    /// From here on it is asked for. Again: nothing.
    void start();
    /// While it is not null, what comes is work done there.
    void show(Progress* progress) { shown_ = progress; }
    /// Throws what went wrong until now.
    void check() const;
    /// Until all of it is here and was checked. Throws what went wrong.
    void wait(const std::stop_token& stop);
    /// wait() has returned.
    bool is_here() const { return is_here_; }
    /// After wait().
    machine::ReceivedMemory& memory() { return memory_; }

  private:
    void run(const std::stop_token& over);

    const wire::RemoteReader& reader_;
    machine::ReceivedMemory memory_;
    std::atomic<Progress*> shown_ = nullptr;
    mutable std::mutex mutex_;
    std::exception_ptr failure_;
    bool is_here_ = false;
    std::jthread thread_;
};

}  // namespace dupengine::cli
