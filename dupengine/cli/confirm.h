#pragma once
// The question before a disk is overwritten. Asked on the terminal only; a script says --yes.

#include <string>

namespace dupengine::cli {

/// Asks on stderr and wants the word "yes" typed on stdin. Throws kRefused if it is not, or if there is no
/// terminal to ask on.
void confirm_overwrite(const std::string& what);

}  // namespace dupengine::cli
