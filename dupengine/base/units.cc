#include "base/units.h"

#include <array>
#include <cmath>

#include "base/bytes.h"

namespace dupengine {

std::string format_size(std::uint64_t bytes) {
    if (bytes < kKiB) return fmt::format("{} B", bytes);
    static constexpr std::array kUnits = {"KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
    double value = static_cast<double>(bytes) / 1024;
    std::size_t unit = 0;
    while (value >= 999.5 && unit + 1 < kUnits.size()) {
        value /= 1024;
        ++unit;
    }
    const int digits = value < 9.995 ? 2 : value < 99.95 ? 1 : 0;
    std::string number = fmt::format("{:.{}f}", value, digits);
    if (number.find('.') != std::string::npos) {
        while (number.back() == '0')
            number.pop_back();
        if (number.back() == '.') number.pop_back();
    }
    return fmt::format("{} {}", number, kUnits[unit]);
}

std::string format_rate(double bytes_per_second) {
    return format_size(static_cast<std::uint64_t>(std::max(0.0, bytes_per_second))) + "/s";
}

std::string format_duration(double seconds) {
    if (seconds < 9.95) return fmt::format("{:.1f} s", seconds);
    const auto whole = static_cast<std::uint64_t>(std::llround(seconds));
    if (whole < 60) return fmt::format("{} s", whole);
    if (whole < 3600) return fmt::format("{} min {:02} s", whole / 60, whole % 60);
    return fmt::format("{} h {:02} min", whole / 3600, whole % 3600 / 60);
}

std::uint64_t parse_size(std::string_view text) {
    const auto bad = [&] {
        throw_error(Code::kUsage, "'{}' is not a size (examples: 512, 64K, 16MiB, 2GB)", text);
    };
    std::size_t at = 0;
    std::uint64_t number = 0;
    while (at < text.size() && text[at] >= '0' && text[at] <= '9') {
        if (__builtin_mul_overflow(number, std::uint64_t{10}, &number) ||
            __builtin_add_overflow(number, static_cast<std::uint64_t>(text[at] - '0'), &number))
            bad();
        ++at;
    }
    if (at == 0) bad();
    while (at < text.size() && text[at] == ' ')
        ++at;
    const std::string_view unit = text.substr(at);
    std::uint64_t factor = 1;
    if (!unit.empty() && unit != "B") {
        static constexpr std::string_view kPrefixes = "KMGTPE";
        const std::size_t power = unit == "k" ? 0 : kPrefixes.find(unit[0]);
        const std::string_view rest = unit.substr(1);
        if (power == std::string_view::npos || (!rest.empty() && rest != "iB" && rest != "B")) bad();
        for (std::size_t i = 0; i <= power; ++i)
            factor *= rest == "B" ? 1000 : 1024;
    }
    std::uint64_t result = 0;
    if (__builtin_mul_overflow(number, factor, &result)) bad();
    return result;
}

}  // namespace dupengine
