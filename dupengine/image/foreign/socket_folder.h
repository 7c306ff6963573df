#pragma once
// A folder for the socket of a program beside us, into which only we may look. It is there for a moment, and
// while it is, the signals that would end us are held back, so that it never stays. One thread.

#include <signal.h>

#include <string>

#include "base/fd.h"

namespace dupengine::image {

class SocketFolder {
  public:
    /// In TMPDIR, or /tmp. Throws kRefused.
    SocketFolder();
    /// Removes it with all that is in it; then the signals come that came.
    ~SocketFolder();
    SocketFolder(const SocketFolder&) = delete;
    SocketFolder& operator=(const SocketFolder&) = delete;

    /// Where the socket is, for this and other programs, in fewer characters than the 107 that there are.
    std::string socket() const;
    /// A signal that ends us is held back.
    bool is_to_end() const;

  private:
    sigset_t before_{};
    std::string path_;
    Fd fd_;
};

}  // namespace dupengine::image
