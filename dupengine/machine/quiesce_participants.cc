#include "machine/quiesce_participants.h"

#include <algorithm>
#include <iterator>

#include "base/error.h"

namespace dupengine::machine {

FoundParticipants find_participants(const HookPlaces& hook_places, const SocketPlaces& socket_places) {
    FoundHooks hooks = find_hooks(hook_places);
    FoundSockets sockets = find_sockets(socket_places);
    FoundParticipants found{std::move(hooks.participants), std::move(hooks.masked), std::move(hooks.ignored),
                            std::move(hooks.refused)};
    std::ranges::move(sockets.participants, std::back_inserter(found.participants));
    std::ranges::move(sockets.ignored, std::back_inserter(found.ignored));
    std::ranges::stable_sort(
        found.participants, {}, [](const auto& p) -> const auto& { return p->name(); });
    return found;
}

void require_callable(const FoundParticipants& found) {
    if (found.refused.empty()) return;
    throw_error(Code::kRefused, "{} is to be asked before a duplication, but cannot be: {}",
                found.refused.front().where, found.refused.front().why);
}

}  // namespace dupengine::machine
