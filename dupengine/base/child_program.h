#pragma once
// A program that works beside us (qemu-nbd) and ends with us, however we end. Its output is kept for a
// complaint as far as a pipe holds it; what is more is lost, and never waited for. One thread at a time.

#include <sys/types.h>

#include <string>
#include <vector>

#include "base/fd.h"

namespace dupengine {

class ChildProgram {
  public:
    /// Starts it, without a shell, in a process group of its own. Throws kUnsupported if it is not there,
    /// kInternal if it cannot be started.
    explicit ChildProgram(const std::vector<std::string>& argv);
    /// Kills it.
    ~ChildProgram();
    ChildProgram(const ChildProgram&) = delete;
    ChildProgram& operator=(const ChildProgram&) = delete;

    bool has_ended();
    /// The first lines of what it said so far.
    std::string complaint() const;

  private:
    Fd output_;
    pid_t pid_ = -1;
};

}  // namespace dupengine
