#pragma once
// --peers, which the verbs that talk to other machines share.

#include <CLI/CLI.hpp>
#include <string>

namespace dupengine::cli {

void add_peers_option(CLI::App& verb, std::string& folder);

}  // namespace dupengine::cli
