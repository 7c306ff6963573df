#include "cli/confirm.h"

#include <unistd.h>

#include <cstdio>
#include <iostream>

#include "base/error.h"

namespace dupengine::cli {

void confirm_overwrite(const std::string& what) {
    if (::isatty(STDIN_FILENO) == 0)
        throw_error(Code::kRefused,
                    "{}: not confirmed, and there is no terminal to ask on; add --yes in a script", what);
    fmt::print(stderr, "{} will be overwritten. Type yes to go on: ", what);
    std::fflush(stderr);
    std::string answer;
    std::getline(std::cin, answer);
    if (answer != "yes") throw_error(Code::kRefused, "{}: not confirmed; nothing was written", what);
}

}  // namespace dupengine::cli
