#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "base/units.h"
#include "cli/progress_view.h"

namespace dupengine::cli {
namespace {

constexpr double kWindowSeconds = 5;
constexpr double kYoungSeconds = 0.5;  // less than this says nothing about a rate
constexpr std::size_t kMostStates = 200;
constexpr std::size_t kNarrowestBar = 8;
constexpr std::size_t kWidestBar = 60;

double average(const Progress::State& state) {
    return state.seconds > 0 ? static_cast<double>(state.done_bytes) / state.seconds : 0;
}

double share_done(const Progress::State& state) {
    return static_cast<double>(state.done_bytes) / static_cast<double>(state.total_bytes);
}

// "copy", or "copy 1/2" where the work has parts.
std::string name_of(const Progress::State& state, Charset charset) {
    const std::string phase = printable(state.phase, charset);
    return state.parts == 0 ? phase : fmt::format("{} {}/{}", phase, state.part, state.parts);
}

}  // namespace

void RateWindow::add(const Progress::State& state) {
    if (!states_.empty() && states_.back().phase_number != state.phase_number) states_.clear();
    states_.push_back(state);
    // The oldest stays until the next one is old enough: the window is never shorter than it could be.
    while (states_.size() > 2 &&
           (state.seconds - states_[1].seconds >= kWindowSeconds || states_.size() > kMostStates))
        states_.pop_front();
}

double RateWindow::bytes_per_second() const {
    if (states_.empty()) return 0;
    const Progress::State &first = states_.front(), &last = states_.back();
    const double seconds = last.seconds - first.seconds;
    if (seconds < kYoungSeconds || last.done_bytes < first.done_bytes) return average(last);
    return static_cast<double>(last.done_bytes - first.done_bytes) / seconds;
}

std::optional<double> seconds_left(const Progress::State& state, double bytes_per_second) {
    if (state.total_bytes == 0 || bytes_per_second <= 0) return std::nullopt;
    return static_cast<double>(state.total_bytes - std::min(state.done_bytes, state.total_bytes)) /
           bytes_per_second;
}

std::string progress_bar(const Progress::State& state, double bytes_per_second, const DrawingStyle& style) {
    const std::size_t room = std::max(2u, style.columns) - 1;
    const std::string head = fmt::format("{:<8}", name_of(state, style.charset));
    std::string tail;
    const auto add = [&](const std::string& text) {
        if (columns_of(head) + columns_of(tail) + 2 + columns_of(text) <= room) tail += "  " + text;
    };
    if (state.total_bytes != 0) {
        // Rounded down: 100 % is said of nothing but the end.
        add(fmt::format("{:3} %", static_cast<int>(100 * share_done(state))));
        add(fmt::format("{} of {}", format_size(state.done_bytes), format_size(state.total_bytes)));
    } else {
        add(format_size(state.done_bytes));
    }
    add(format_rate(bytes_per_second));
    if (const auto left = seconds_left(state, bytes_per_second)) add(format_duration(*left) + " left");
    const std::size_t taken = columns_of(head) + columns_of(tail);
    if (state.total_bytes == 0 || taken + kNarrowestBar > room)
        return fitted(head + tail, room, style.charset);
    const std::size_t width = std::min(kWidestBar, room - taken);
    const auto full =
        std::min(width, static_cast<std::size_t>(share_done(state) * static_cast<double>(width)));
    const bool utf8 = style.charset == Charset::kUtf8;
    return head + repeated(utf8 ? "█" : "#", full) + repeated(utf8 ? "░" : ".", width - full) + tail;
}

std::string progress_summary(const Progress::State& state) {
    const std::string phase = name_of(state, Charset::kUtf8);
    if (state.done_bytes < state.total_bytes)
        return fmt::format("{}: stopped at {} of {} after {}", phase, format_size(state.done_bytes),
                           format_size(state.total_bytes), format_duration(state.seconds));
    // Work that is not counted in bytes (a flush, another program): only the time says something.
    if (state.total_bytes == 0 && state.done_bytes == 0)
        return fmt::format("{}: {}", phase, format_duration(state.seconds));
    return fmt::format("{}: {} in {} ({})", phase, format_size(state.done_bytes),
                       format_duration(state.seconds), format_rate(average(state)));
}

std::string progress_json(const Progress::State& state, double bytes_per_second, bool ended) {
    using Json = nlohmann::ordered_json;
    const auto left = ended ? std::optional<double>(0) : seconds_left(state, bytes_per_second);
    Json line = {{"phase", state.phase},
                 {"done_bytes", state.done_bytes},
                 {"total_bytes", state.total_bytes == 0 ? Json() : Json(state.total_bytes)},
                 {"rate_bytes_per_second", std::llround(bytes_per_second)},
                 {"seconds_left", left ? Json(std::round(*left * 10) / 10) : Json()},
                 {"ended", ended}};
    if (state.parts != 0) {
        line["disk"] = state.part;
        line["disks"] = state.parts;
    }
    return line.dump(-1, ' ', false, Json::error_handler_t::replace);
}

}  // namespace dupengine::cli
