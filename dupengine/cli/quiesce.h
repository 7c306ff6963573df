#pragma once
// The parts of `dupengine quiesce`, and how a call is shown.

#include <string>
#include <vector>

#include "cli/command.h"
#include "machine/quiesce_participants.h"

namespace dupengine::cli {

struct QuiesceArguments {
    machine::HookPlaces hooks;
    machine::SocketPlaces sockets;
    std::vector<std::string> hook_folders;  ///< instead of the usual ones
    std::string target;
    double call_seconds = 5, overall_seconds = 30;
    std::vector<std::string> command;
    std::string name;
    std::string prepare, resume_source, resume_target, abort;  ///< for sh -c; empty: nothing to do
};

int run_quiesce(const QuiesceArguments& arguments, const Globals& globals);
int list_quiesce(const QuiesceArguments& arguments, const Globals& globals);
int wait_quiesce(const QuiesceArguments& arguments);

/// What a participant printed, each line indented, made harmless for the terminal; empty for nothing.
std::string shown_output(const std::string& text);

}  // namespace dupengine::cli
