#pragma once
// A person at a terminal, who is asked whether a disk may be overwritten.

#include <string>
#include <vector>

#include "base/subprocess.h"

namespace dupengine::test {

/// Runs the command on a terminal of its own. When the question is there, `first` (a line of shell) is run,
/// and then the person says yes. What the terminal showed is `out`.
RunResult run_with_a_person(const std::vector<std::string>& arguments, const std::string& first = ":");

}  // namespace dupengine::test
