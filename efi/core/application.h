#pragma once
// What the machine does from the moment that dupengine.efi runs: it says who it is and what it will do, does
// that by itself when the time-out has passed, or what a person chooses by a key. What fails comes back to
// the menu with the reason.

#include "efi/core/unattended.h"

namespace dupengine::efi {

/// Returns only if firmware.restart() does, which a real one never does. `scratch` as in survey_machine().
void run_application(Firmware& firmware, Buffer scratch, Survey& survey);

}  // namespace dupengine::efi
