#pragma once
// Whether a machine that waits (receive --live) could become this one: asked before anything is paused, and
// by `doctor --against`. The question goes as an offer that nobody is meant to copy.

#include <stop_token>
#include <string>
#include <vector>

#include "cli/remote_source.h"

namespace dupengine::cli {

/// What stands against it, each a line; empty: nothing. `disk_bytes` are the sizes of the disks that would
/// go. Throws as call(); kRefused if the machine waits for something else.
std::vector<std::string> ask_alike(const wire::Address& address, const PeerOptions& peers,
                                   const std::vector<std::uint64_t>& disk_bytes, const std::stop_token& stop);

/// The other end: what is answered. `source` offers memory; `targets` are the disks here, as many as there.
std::vector<std::string> differences_from(const RemoteSource& source,
                                          const std::vector<std::string>& targets);

}  // namespace dupengine::cli
