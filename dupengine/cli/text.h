#pragma once
// Text for a terminal: what came from a disk is made harmless, and widths are counted in columns, not bytes.
// Pure functions; safe from any thread.

#include <cstddef>
#include <string>
#include <string_view>

namespace dupengine::cli {

enum class Charset { kAscii, kUtf8 };

/// `text` without anything that a terminal would obey: control characters, broken UTF-8, marks that turn the
/// direction of writing become '?'; in kAscii everything beyond ASCII too. Disk labels may hold any bytes.
std::string printable(std::string_view text, Charset charset);

/// How many columns printable text takes: combining marks none, East Asian wide characters and emoji two.
std::size_t columns_of(std::string_view text);

/// Exactly `columns` wide: padded with spaces on the right, or cut (with an ellipsis where there is room for
/// one).
std::string fitted(std::string_view text, std::size_t columns, Charset charset);

/// `text` repeated.
std::string repeated(std::string_view text, std::size_t times);

}  // namespace dupengine::cli
