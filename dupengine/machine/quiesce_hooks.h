#pragma once
// Participants that are executables: NN-name in one of the folders quiesce.d, called with the phase as their
// one argument. As everywhere, a file in /etc stands in for one of the same name in /run, and that for one in
// /usr/lib; a link to /dev/null takes it out. They run as root, so one that another user could have changed
// is refused, and looked at again right before each call.

#include <memory>
#include <string>
#include <vector>

#include "machine/quiesce.h"

namespace dupengine::machine {

struct HookPlaces {
    std::vector<std::string> folders = {"/etc/dupengine/quiesce.d", "/run/dupengine/quiesce.d",
                                        "/usr/lib/dupengine/quiesce.d"};  ///< the first has precedence
    unsigned owner = 0;                                                   ///< the user whose files are run
};

inline constexpr std::size_t kMaxHooks = 64;

/// "50-db": two digits, a hyphen, then letters, digits, hyphens and underscores; at most 64 bytes.
bool is_participant_name(const std::string& name);

/// What a command is told of its call, as "NAME=value": DUPENGINE_PHASE, _ROLE, _NODE, _TARGET, _DEADLINE_MS;
/// and a PATH. Nothing of our own environment.
std::vector<std::string> hook_environment(const Call& call);

struct FoundHooks {
    std::vector<std::unique_ptr<Participant>> participants;  ///< in the order of their names
    std::vector<NotCalled> masked;                           ///< by a link to /dev/null
    std::vector<NotCalled> ignored;  ///< files of other names: what editors and packages leave behind
    std::vector<NotCalled> refused;  ///< that were meant to be called, and cannot be
};
/// Throws kRefused if a folder cannot be read, or belongs to another user, or there are more than kMaxHooks.
FoundHooks find_hooks(const HookPlaces& places);

}  // namespace dupengine::machine
