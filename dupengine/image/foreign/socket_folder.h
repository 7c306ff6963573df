#pragma once
// A folder for the socket of a program beside us, into which only we may look. It is there for a moment, and
// while it is, the signals that would end us are held back, so that it does not stay. One thread.

#include <signal.h>

#include <string>

#include "base/fd.h"
#include "base/temporary_folder.h"

namespace dupengine::image {

/// Those that would end this process come when it goes.
class HeldSignals {
  public:
    HeldSignals();
    ~HeldSignals();
    HeldSignals(const HeldSignals&) = delete;
    HeldSignals& operator=(const HeldSignals&) = delete;

  private:
    sigset_t before_{};
};

class SocketFolder {
  public:
    /// In TMPDIR, or /tmp. Throws kRefused.
    SocketFolder();

    /// Where the socket is, for this and other programs, in fewer characters than the 107 that there are.
    std::string socket() const;
    /// A signal that ends us is held back.
    bool is_to_end() const;

  private:
    HeldSignals held_;  // first to come, last to go
    TemporaryFolder folder_;
    Fd fd_;
};

}  // namespace dupengine::image
