#pragma once
// What `dupengine VERB... --help` says, as sets: for tests that hold the manual pages and the completion
// against it.

#include <set>
#include <string>
#include <vector>

namespace dupengine::test {

struct HelpText {
    std::set<std::string> options;         ///< "--json", "-y", ...
    std::vector<std::string> subcommands;  ///< in the order of the help
};

/// Runs the command under test; `words` as ["profile", "init"], empty for the command as a whole.
HelpText help_of(const std::vector<std::string>& words);

/// Every list of words that has a help of its own: [], ["inspect"], ["profile"], ["profile", "init"], ...
std::vector<std::vector<std::string>> all_commands();

}  // namespace dupengine::test
