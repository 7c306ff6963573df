#include "profiles/system/own_mounts.h"

#include <sys/sysmacros.h>

#include <algorithm>
#include <charconv>
#include <optional>
#include <sstream>

#include "base/fd.h"
#include "profiles/system/file_system_table.h"

namespace dupengine::profiles {
namespace {

struct Line {
    std::string id, parent;
    OwnMount mount;
};

std::optional<std::uint64_t> device_of(const std::string& text) {
    unsigned upper = 0, lower = 0;
    const char* end = text.data() + text.size();
    const auto first = std::from_chars(text.data(), end, upper);
    if (first.ec != std::errc() || first.ptr == end || *first.ptr != ':') return std::nullopt;
    const auto second = std::from_chars(first.ptr + 1, end, lower);
    if (second.ec != std::errc() || second.ptr != end) return std::nullopt;
    return makedev(upper, lower);
}

// "36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw": of the optional fields before "-" there
// may be any number.
std::optional<Line> parse_line(const std::string& text) {
    std::istringstream stream(text);
    std::vector<std::string> words;
    for (std::string word; stream >> word;)
        words.push_back(word);
    const auto dash = std::find(words.begin(), words.end(), "-");
    if (dash - words.begin() < 6 || words.end() - dash < 2) return std::nullopt;
    const auto device = device_of(words[2]);
    if (!device) return std::nullopt;
    return Line{words[0],
                words[1],
                {without_octal_escapes(words[4]), *device, without_octal_escapes(words[3]),
                 without_octal_escapes(dash[1])}};
}

// Empty for one that is not below the folder.
std::string below(const std::string& path, const std::string& folder) {
    if (folder == "/") return path;
    if (!is_within(path, folder)) return {};
    return path == folder ? "/" : path.substr(folder.size());
}

}  // namespace

std::vector<OwnMount> parse_own_mounts(const std::string& mountinfo, const std::string& folder) {
    std::vector<Line> lines;
    std::istringstream stream(mountinfo);
    for (std::string text; std::getline(stream, text);) {
        auto line = parse_line(text);
        if (!line) continue;
        lines.push_back(std::move(*line));
    }
    std::vector<OwnMount> mounts;
    for (Line& line : lines) {
        const bool hidden = std::any_of(lines.begin(), lines.end(), [&](const Line& other) {
            return other.parent == line.id && other.id != line.id && other.mount.path == line.mount.path;
        });
        std::string path = below(line.mount.path, folder);
        if (hidden || path.empty()) continue;
        line.mount.path = std::move(path);
        mounts.push_back(line.mount);
    }
    return mounts;
}

std::vector<OwnMount> own_mounts(const std::string& folder) {
    return parse_own_mounts(read_file("/proc/self/mountinfo", Code::kUnsupported), folder);
}

}  // namespace dupengine::profiles
