#include "machine/likeness.h"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "base/error.h"

namespace dupengine::machine {
namespace {

std::string first_line(const std::string& path) {
    std::ifstream file(path);
    std::string line;
    std::getline(file, line);
    return line;
}

// Linux: Documentation/ABI/testing/sysfs-firmware-memmap.
std::vector<std::string> read_memory_map(const std::string& folder) {
    std::vector<std::pair<std::uint64_t, std::string>> entries;
    std::error_code none;
    for (const auto& entry : std::filesystem::directory_iterator(folder, none)) {
        const std::string start = first_line(entry.path() / "start");
        if (start.empty()) continue;
        entries.emplace_back(std::stoull(start, nullptr, 0),
                             fmt::format("{}-{} {}", start, first_line(entry.path() / "end"),
                                         first_line(entry.path() / "type")));
    }
    std::ranges::sort(entries);
    std::vector<std::string> map;
    for (auto& [start, text] : entries)
        map.push_back(std::move(text));
    return map;
}

std::set<std::string> words_of(const std::string& text) {
    std::istringstream words(text);
    return {std::istream_iterator<std::string>(words), {}};
}

void read_processors(const std::string& path, Likeness& likeness) {
    std::ifstream file(path);
    for (std::string line; std::getline(file, line);) {
        const std::size_t colon = line.find(':');
        if (colon == std::string::npos) continue;
        const std::string key = line.substr(0, line.find_first_of("\t:"));
        const std::string value = line.substr(std::min(line.size(), colon + 2));
        if (key == "processor") ++likeness.processors;
        if (key == "vendor_id") likeness.vendor = value;
        if (key != "flags") continue;
        const std::set<std::string> flags = words_of(value);
        if (likeness.processors <= 1) likeness.features = flags;
        std::erase_if(likeness.features, [&](const std::string& f) { return !flags.contains(f); });
    }
}

// Linux: Documentation/ABI/testing/sysfs-devices-system-clocksource. What is measured anew in the first
// second is called "tsc-early".
std::string settled(const std::string& clock) {
    return clock == "tsc-early" ? "tsc" : clock;
}

void read_clocks(const std::string& folder, Likeness& likeness) {
    likeness.clock = settled(first_line(folder + "/current_clocksource"));
    for (const std::string& clock : words_of(first_line(folder + "/available_clocksource")))
        likeness.clocks.insert(settled(clock));
}

std::string join(const auto& words) {
    std::string text;
    for (const std::string& word : words)
        text += (text.empty() ? "" : " ") + word;
    return text;
}

// "2995200 kHz, 12 ppm"
TscRate parse_rate(const std::string& text) {
    std::istringstream words(text);
    TscRate rate;
    std::string unit;
    words >> rate.khz >> unit >> rate.error_ppm;
    return words ? rate : TscRate{};
}

// The kernel that comes goes on with the clock and the page tables that it has.
void compare_what_cannot_change(const Likeness& source, const Likeness& target,
                                std::vector<std::string>& found) {
    // Of the kernel the flag is there only if it uses them, so one that the target has more does count.
    const bool has_source = source.features.contains("la57"), has_target = target.features.contains("la57");
    if (has_target && !has_source)
        found.emplace_back(
            "page tables have 4 levels there and 5 here (no5lvl on the kernel command line here)");
    if (source.clock.empty() || target.clocks.empty()) return;
    if (!target.clocks.contains(source.clock))
        found.push_back(
            fmt::format("time is kept by {} there, and here it can be by {} (clocksource= on the kernel "
                        "command line there)",
                        source.clock, join(target.clocks)));
    else if (source.clock == "tsc" && !keeps_time(source.tsc, target.tsc))
        found.push_back(fmt::format(
            "time is kept by a counter of {:.3f} MHz there, and it has {:.3f} MHz here (another "
            "clocksource= on the kernel command line there)",
            static_cast<double>(source.tsc.khz) / 1000, static_cast<double>(target.tsc.khz) / 1000));
}

}  // namespace

Likeness read_likeness(const layout::SystemRoots& roots, const std::function<TscRate()>& measure) {
    Likeness likeness;
    likeness.kernel = first_line(roots.proc + "/version");
    likeness.memory_map = read_memory_map(roots.sys + "/firmware/memmap");
    read_processors(roots.proc + "/cpuinfo", likeness);
    read_clocks(roots.sys + "/devices/system/clocksource/clocksource0", likeness);
    if (!likeness.clock.empty()) likeness.tsc = measure();
    return likeness;
}

std::string to_text(const Likeness& likeness) {
    std::string text = fmt::format("kernel: {}\nvendor: {}\nprocessors: {}\nfeatures: {}\n", likeness.kernel,
                                   likeness.vendor, likeness.processors, join(likeness.features));
    if (!likeness.clock.empty())
        text += fmt::format("clock: {}\nclocks: {}\ntsc: {} kHz, {} ppm\n", likeness.clock,
                            join(likeness.clocks), likeness.tsc.khz, likeness.tsc.error_ppm);
    for (const std::string& entry : likeness.memory_map)
        text += "memory: " + entry + "\n";
    return text;
}

Likeness parse_likeness(const std::string& text) {
    Likeness likeness;
    std::istringstream lines(text);
    for (std::string line; std::getline(lines, line);) {
        const std::size_t colon = line.find(": ");
        if (colon == std::string::npos) continue;
        const std::string key = line.substr(0, colon), value = line.substr(colon + 2);
        if (key == "kernel") likeness.kernel = value;
        if (key == "vendor") likeness.vendor = value;
        if (key == "processors") likeness.processors = std::strtoul(value.c_str(), nullptr, 10);
        if (key == "features") likeness.features = words_of(value);
        if (key == "clock") likeness.clock = value;
        if (key == "clocks") likeness.clocks = words_of(value);
        if (key == "tsc") likeness.tsc = parse_rate(value);
        if (key == "memory") likeness.memory_map.push_back(value);
    }
    if (likeness.kernel.empty())
        throw_error(Code::kPeer, "the other end does not say what kernel its memory is of");
    return likeness;
}

std::vector<std::string> differences(const Likeness& source, const Likeness& target) {
    std::vector<std::string> found;
    if (source.kernel != target.kernel)
        found.push_back(
            fmt::format("the kernels are not the same: {} there, {} here", source.kernel, target.kernel));
    if (source.memory_map != target.memory_map) {
        std::vector<std::string> other;
        std::ranges::set_symmetric_difference(std::set(source.memory_map.begin(), source.memory_map.end()),
                                              std::set(target.memory_map.begin(), target.memory_map.end()),
                                              std::back_inserter(other));
        found.push_back(
            fmt::format("the firmware's memory maps differ in {} ranges, the first {} (size of memory, "
                        "devices, firmware)",
                        other.size(), other.empty() ? "by their order" : other.front()));
    }
    if (source.vendor != target.vendor)
        found.push_back(
            fmt::format("the processors are of {} there and of {} here", source.vendor, target.vendor));
    std::vector<std::string> missing;
    std::ranges::set_difference(source.features, target.features, std::back_inserter(missing));
    if (!missing.empty()) found.push_back("the processor here lacks " + join(missing));
    if (target.processors < source.processors)
        found.push_back(
            fmt::format("there are {} processors there and {} here", source.processors, target.processors));
    compare_what_cannot_change(source, target, found);
    return found;
}

}  // namespace dupengine::machine
