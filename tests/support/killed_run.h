#pragma once
// The command, killed with every program that it started.

#include <chrono>
#include <string>
#include <vector>

namespace dupengine::test {

/// Runs it with these arguments and kills it after a while. Says whether it had ended by itself.
bool run_and_kill(const std::vector<std::string>& arguments, std::chrono::microseconds after);

}  // namespace dupengine::test
