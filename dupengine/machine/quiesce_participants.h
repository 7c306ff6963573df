#pragma once
// All participants of this machine, hooks and sockets, in the one order in which they are prepared: by name,
// and of two with the same name the hook first. Reads folders; calls nobody.

#include <memory>
#include <vector>

#include "machine/quiesce_hooks.h"
#include "machine/quiesce_sockets.h"

namespace dupengine::machine {

struct FoundParticipants {
    std::vector<std::unique_ptr<Participant>> participants;
    std::vector<NotCalled> masked, ignored;
    std::vector<NotCalled> refused;  ///< with any of these, no duplication: it wanted to be asked
};
FoundParticipants find_participants(const HookPlaces& hooks = {}, const SocketPlaces& sockets = {});

/// Throws kRefused with the first of `found.refused`.
void require_callable(const FoundParticipants& found);

}  // namespace dupengine::machine
