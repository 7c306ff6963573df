#pragma once
// The part of `dupengine boot` that talks to dupengine.efi through variables of the firmware: status, once,
// tries, confirm.

#include "cli/command.h"

namespace dupengine::cli {

void add_boot_start(CLI::App& boot, Globals& globals, Action& action);

}  // namespace dupengine::cli
