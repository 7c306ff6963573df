#pragma once
// `dupengine verify DISK`: a disk that is checked without another one beside it.

#include <string>

#include "cli/command.h"

namespace dupengine::cli {

/// `report` is a file that `copy --report` wrote, or empty. Returns the exit status.
int verify_alone(const std::string& path, const std::string& report, const Globals& globals);

}  // namespace dupengine::cli
