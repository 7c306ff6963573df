#include "profiles/system/file_system_table.h"

#include <algorithm>
#include <optional>

namespace dupengine::profiles {
namespace {

std::string lower(std::string text) {
    for (char& c : text)
        if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
    return text;
}

std::vector<std::string> words_of(const std::string& line) {
    std::vector<std::string> words;
    for (std::size_t at = 0; (at = line.find_first_not_of(" \t", at)) != std::string::npos;) {
        const std::size_t end = std::min(line.find_first_of(" \t", at), line.size());
        words.push_back(line.substr(at, end - at));
        at = end;
    }
    return words;
}

// getmntent(3): blanks and backslashes are written as three octal digits.
std::string unescaped(const std::string& text) {
    std::string result;
    const auto octal = [](char c) { return c >= '0' && c <= '7'; };
    for (std::size_t i = 0; i < text.size(); ++i) {
        if (text[i] == '\\' && i + 3 < text.size() && octal(text[i + 1]) && octal(text[i + 2]) &&
            octal(text[i + 3])) {
            result +=
                static_cast<char>((text[i + 1] - '0') * 64 + (text[i + 2] - '0') * 8 + (text[i + 3] - '0'));
            i += 3;
        } else {
            result += text[i];
        }
    }
    return result;
}

struct Tag {
    std::string key, value;  // "uuid", "1234-ABCD"
};

std::optional<Tag> tag_of(const std::string& device) {
    constexpr std::string_view kBy = "/dev/disk/by-";
    if (device.rfind(kBy, 0) == 0) {
        const std::size_t slash = device.find('/', kBy.size());
        if (slash == std::string::npos) return std::nullopt;
        return Tag{device.substr(kBy.size(), slash - kBy.size()), device.substr(slash + 1)};
    }
    const std::size_t equals = device.find('=');
    if (equals == std::string::npos) return std::nullopt;
    std::string value = device.substr(equals + 1);
    std::erase(value, '"');
    return Tag{lower(device.substr(0, equals)), value};
}

bool matches(const Tag& tag, const layout::PartitionDescription& candidate,
             const layout::PartitionTable& table) {
    const layout::Partition& partition = candidate.partition;
    if (tag.key == "uuid") return candidate.signature && lower(candidate.signature->uuid) == lower(tag.value);
    if (tag.key == "label") return candidate.signature && candidate.signature->label == tag.value;
    if (tag.key == "partlabel") return !partition.name.empty() && partition.name == tag.value;
    if (tag.key != "partuuid") return false;
    if (table.kind == layout::TableKind::kMbr)
        return lower(tag.value) == fmt::format("{:08x}-{:02x}", table.mbr_signature, partition.number);
    return lower(tag.value) == partition.guid.text();
}

}  // namespace

std::vector<MountPoint> mount_points_of(const std::string& fstab,
                                        const layout::DiskDescription& description) {
    std::vector<MountPoint> mounts;
    for (std::size_t begin = 0; begin < fstab.size();) {
        const std::size_t end = std::min(fstab.find('\n', begin), fstab.size());
        const std::vector<std::string> words = words_of(fstab.substr(begin, end - begin));
        begin = end + 1;
        if (words.size() < 2 || words[0].front() == '#') continue;
        const std::string path = unescaped(words[1]);
        const std::optional<Tag> tag = tag_of(unescaped(words[0]));
        if (!tag || path.size() < 2 || path.front() != '/') continue;
        for (const layout::PartitionDescription& candidate : description.partitions)
            if (matches(*tag, candidate, description.table)) {
                mounts.push_back({path, candidate.partition.number});
                break;
            }
    }
    std::stable_sort(mounts.begin(), mounts.end(),
                     [](const MountPoint& a, const MountPoint& b) { return a.path.size() < b.path.size(); });
    return mounts;
}

}  // namespace dupengine::profiles
