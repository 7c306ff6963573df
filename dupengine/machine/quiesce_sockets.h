#pragma once
// Participants that are programs: each listens on a socket of its own, NN-name.sock in one folder, and we
// connect when a duplication begins. There is no daemon to register with: it would have to run before and
// after every duplication, to be restarted without losing its list, and to be trusted by both sides. A
// socket's file is there as long as its program listens, a program that restarts needs nobody, and the order
// is that of the names.
//
// A program is called if root runs it, or a member of the group that may write the folder. What it says is
// bounded, and a program that says nothing has its deadline. The connection stays open from prepare to the
// end: whoever dies in between is seen by the other side.

#include <memory>
#include <string>
#include <vector>

#include "machine/quiesce.h"

namespace dupengine::machine {

struct SocketPlaces {
    std::string folder = "/run/dupengine/quiesce";
    unsigned owner = 0;  ///< whose folder it must be
};

inline constexpr std::size_t kMaxSockets = 64;

struct FoundSockets {
    std::vector<std::unique_ptr<Participant>> participants;  ///< in the order of their names
    std::vector<NotCalled> ignored;                          ///< no sockets, or nobody listens any more
};
/// Throws kRefused if the folder belongs to another user or everybody may write it, or there are more than
/// kMaxSockets. Connects to each for a moment to see whether somebody listens.
FoundSockets find_sockets(const SocketPlaces& places);

}  // namespace dupengine::machine
