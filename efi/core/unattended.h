#pragma once
// What the machine does where nobody is: the choice for one start, else that of the profile, else, where this
// fails, what the profile falls back to. Starts are counted where somebody asked for that: whoever makes a
// machine new writes the variable DupengineTries, and the system that comes up well deletes it; a system that
// does not come up is not tried for ever.

#include "efi/core/menu.h"

namespace dupengine::efi {

struct Unattended {
    std::optional<Action> action;    ///< nothing: it waits for a key
    std::optional<Action> fallback;  ///< when that comes back
    std::uint32_t timeout_seconds = 0;
    std::optional<std::uint32_t> tries;  ///< how many are left, if this start counts
};

/// Says what it found. DupengineOnce is deleted before it is followed; if it cannot be it is not, because it
/// would be followed for ever.
Unattended choose_unattended(Firmware& firmware, const Survey& survey, const Menu& menu);

/// To be called before the action is done. False if the start cannot be counted: then it must not be done.
bool count_try(Firmware& firmware, const Unattended& unattended);

}  // namespace dupengine::efi
