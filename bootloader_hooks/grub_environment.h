#pragma once
// GRUB's environment block (grubenv): variables that outlive a start, lines NAME=VALUE in a file of a fixed
// size, filled with '#'. GRUB itself writes into the blocks of that very file, so its size never changes.
// Pure.

#include <optional>
#include <string>
#include <string_view>

namespace dupengine::boot {

/// One without variables, as grub-editenv(1) makes it.
std::string empty_grub_environment();

/// Throws kIntegrity if it is no environment block.
std::optional<std::string> grub_variable(std::string_view block, std::string_view name);

/// The block with this value, or without the variable; all other lines as they were. Throws kIntegrity as
/// above, kRefused if there is no room. The value is one line of text without backslashes.
std::string with_grub_variable(std::string_view block, std::string_view name,
                               const std::optional<std::string>& value);

}  // namespace dupengine::boot
