#pragma once
// The command as a process beside the test, which waits for connections on 127.0.0.1.

#include <sys/types.h>

#include <future>
#include <string>
#include <vector>

#include "tests/support/free_port.h"
#include "tests/support/scratch.h"

namespace dupengine::test {

bool is_listening(std::uint16_t port);

/// Killed (SIGKILL) when it is given up.
class Running {
  public:
    explicit Running(std::vector<std::string> arguments);
    ~Running();
    Running(const Running&) = delete;
    Running& operator=(const Running&) = delete;

    /// Throws if it never comes to that.
    void wait_until_listening(std::uint16_t port) const;
    void kill() { stop_.request_stop(); }
    void signal(int number) const;
    /// Waits for its end.
    RunResult end() { return result_.get(); }

    /// What the process takes at this moment, and the most memory that it ever took. Zeros when it is gone.
    struct Usage {
        std::size_t most_memory_bytes = 0, descriptors = 0, threads = 0;
    };
    Usage usage() const;

  private:
    pid_t process() const;
    const ScratchFolder scratch_;
    std::stop_source stop_;
    std::future<RunResult> result_;
};

}  // namespace dupengine::test
