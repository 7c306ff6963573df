#pragma once
// The command, killed with every program that it started.

#include <chrono>
#include <functional>
#include <string>
#include <vector>

namespace dupengine::test {

/// Runs it with these arguments and kills it after a while; returns when nothing of it is left. Says whether
/// it had ended by itself.
bool run_and_kill(const std::vector<std::string>& arguments, std::chrono::microseconds after);

/// As above, as soon as that is so.
bool run_and_kill(const std::vector<std::string>& arguments, const std::function<bool()>& when);

}  // namespace dupengine::test
