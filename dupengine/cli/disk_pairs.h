#pragma once
// Which disk is copied onto which, as the command line says it: SOURCE TARGET, or --map SOURCE=TARGET once a
// disk. Nothing is opened.

#include <string>
#include <vector>

#include "engine/refusals.h"

namespace dupengine::cli {

/// "SOURCE=TARGET", split at the first '=' without a backslash in front of it: "\=" is a '=' of a name. Every
/// other backslash stands for itself, as udev's names need it. Throws kUsage.
engine::PathPair parse_map(const std::string& text);

/// Either the two words or the maps; throws kUsage for both, neither, or half.
std::vector<engine::PathPair> find_pairs(const std::string& source, const std::string& target,
                                         const std::vector<std::string>& maps);

/// For each pair the number of the first one with the same source, by any name: it is opened once. Throws
/// kRefused for a source that cannot be one.
std::vector<std::size_t> number_sources(const std::vector<engine::PathPair>& pairs);

/// "/dev/sdb, /dev/sdc": all targets, for a question and its answer.
std::string name_targets(const std::vector<engine::PathPair>& pairs);

}  // namespace dupengine::cli
