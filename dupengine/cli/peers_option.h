#pragma once
// --peers and --peer, which the verbs that talk to other machines share.

#include <CLI/CLI.hpp>
#include <string>

#include "cli/remote_source.h"

namespace dupengine::cli {

void add_peers_option(CLI::App& verb, std::string& folder);
/// Both.
void add_peer_options(CLI::App& verb, PeerOptions& peers);

}  // namespace dupengine::cli
