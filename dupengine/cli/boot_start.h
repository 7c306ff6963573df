#pragma once
// The part of `dupengine boot` that talks to the loader that starts this machine: status, install, remove,
// once, default, tries, confirm;
// of the images that it starts, failed and report (boot_image.cc);
// and of the system that runs before it, network (boot_network.cc).

#include "cli/command.h"

namespace dupengine::cli {

void add_boot_start(CLI::App& boot, Globals& globals, Action& action);
void add_boot_image(CLI::App& boot, Globals& globals, Action& action);
void add_boot_network(CLI::App& boot, Globals& globals, Action& action);

}  // namespace dupengine::cli
