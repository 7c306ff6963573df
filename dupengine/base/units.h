#pragma once
// Sizes, rates and times as people write and read them. Pure functions; safe from any thread.

#include <cstdint>
#include <string>
#include <string_view>

namespace dupengine {

/// "1.5 GiB", "512 B": three significant digits, binary units.
std::string format_size(std::uint64_t bytes);
/// "412 MiB/s".
std::string format_rate(double bytes_per_second);
/// "3 s", "4 min 12 s", "2 h 05 min".
std::string format_duration(double seconds);

/// "4096", "4K", "16MiB", "2 GB" (K/KiB = 1024, KB = 1000). Throws kUsage on anything else or on overflow.
std::uint64_t parse_size(std::string_view text);

}  // namespace dupengine
