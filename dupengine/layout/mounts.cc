#include "layout/mounts.h"

#include <sys/stat.h>
#include <sys/sysmacros.h>

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <set>
#include <sstream>
#include <utility>

namespace dupengine::layout {
namespace {

namespace fs = std::filesystem;

std::vector<std::string> words_of(const std::string& line) {
    std::istringstream stream(line);
    std::vector<std::string> words;
    for (std::string word; stream >> word;)
        words.push_back(word);
    return words;
}

// "36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw": the optional fields before "-" vary in
// number (proc_pid_mountinfo(5)).
std::optional<Mount> parse_mountinfo_line(const std::string& line) {
    const std::vector<std::string> words = words_of(line);
    const auto dash = std::find(words.begin(), words.end(), "-");
    if (dash - words.begin() < 6 || words.end() - dash < 3) return std::nullopt;
    const auto device = parse_device_number(words[2]);
    if (!device) return std::nullopt;
    Mount mount;
    std::from_chars(words[0].data(), words[0].data() + words[0].size(), mount.id);
    mount.device = *device;
    mount.point = unescape_octal(words[4]);
    mount.type = unescape_octal(dash[1]);
    mount.source = unescape_octal(dash[2]);
    return mount;
}

std::optional<block::PathIdentity> identity_of(const std::string& path) {
    struct stat st {};
    if (::stat(path.c_str(), &st) != 0) return std::nullopt;
    if (S_ISBLK(st.st_mode)) return block::PathIdentity{true, st.st_rdev, 0};
    if (S_ISREG(st.st_mode)) return block::PathIdentity{false, st.st_dev, st.st_ino};
    return std::nullopt;
}

// The source path as the process sees it, then as this process does, then by the kernel's name of the device.
std::optional<block::PathIdentity> source_identity(const std::string& process, const std::string& source,
                                                   const BlockGraph& graph) {
    if (source.empty() || source.front() != '/') return std::nullopt;
    if (auto found = identity_of(process + "/root" + source)) return found;
    if (auto found = identity_of(source)) return found;
    if (const auto device = graph.device_named(fs::path(source).filename().string()))
        return block::PathIdentity{true, *device, 0};
    return std::nullopt;
}

// Only filesystems with an anonymous device number on storage of their own are looked up by their source: the
// path of a network filesystem could be one that never answers.
bool needs_source(const Mount& mount) {
    return major(mount.device) == 0 &&
           (mount.type == "btrfs" || mount.type == "bcachefs" || mount.type.starts_with("fuse"));
}

void find_sources(Mount& mount, const std::string& process, const BlockGraph& graph,
                  const std::vector<BtrfsGroup>& groups) {
    if (!needs_source(mount)) return;
    std::istringstream parts(mount.source);
    for (std::string part; std::getline(parts, part, mount.type == "bcachefs" ? ':' : '\0');) {
        const auto identity = source_identity(process, part, graph);
        if (!identity) continue;
        mount.sources.push_back(*identity);
        for (const BtrfsGroup& group : groups) {
            if (std::count(group.devices.begin(), group.devices.end(), identity->device_number) == 0)
                continue;
            for (DeviceNumber member : group.devices)
                mount.sources.push_back({true, member, 0});
        }
    }
}

// Own process first (its mounts are told without a process), then by number.
std::vector<std::string> processes(const SystemRoots& roots) {
    std::vector<unsigned> numbers;
    std::error_code error;
    for (fs::directory_iterator entry(roots.proc, error), end; !error && entry != end;
         entry.increment(error)) {
        const std::string name = entry->path().filename().string();
        unsigned number = 0;
        const auto parsed = std::from_chars(name.data(), name.data() + name.size(), number);
        if (parsed.ec == std::errc() && parsed.ptr == name.data() + name.size()) numbers.push_back(number);
    }
    std::sort(numbers.begin(), numbers.end());
    std::vector<std::string> names = {"self"};
    for (unsigned number : numbers)
        names.push_back(std::to_string(number));
    return names;
}

// One view is one mount namespace seen from one root directory: a process in a chroot is shown only what lies
// below its root. Empty if the process is gone or does not let us see (then it is looked at by itself).
std::string view_of(const std::string& process) {
    std::error_code error;
    const fs::path name_space = fs::read_symlink(process + "/ns/mnt", error);
    if (error) return {};
    const fs::path root = fs::read_symlink(process + "/root", error);
    return error ? std::string() : name_space.string() + " " + root.string();
}

}  // namespace

std::string unescape_octal(std::string_view text) {
    const auto is_digit = [](char c) { return c >= '0' && c <= '7'; };
    std::string plain;
    for (std::size_t i = 0; i < text.size(); ++i) {
        if (text[i] == '\\' && text.size() - i > 3 && is_digit(text[i + 1]) && is_digit(text[i + 2]) &&
            is_digit(text[i + 3])) {
            plain +=
                static_cast<char>((text[i + 1] - '0') << 6 | (text[i + 2] - '0') << 3 | (text[i + 3] - '0'));
            i += 3;
        } else {
            plain += text[i];
        }
    }
    return plain;
}

std::vector<BtrfsGroup> btrfs_groups(const SystemRoots& roots, const BlockGraph& graph) {
    std::vector<BtrfsGroup> groups;
    std::error_code error;
    for (fs::directory_iterator entry(roots.sys + "/fs/btrfs", error), end; !error && entry != end;
         entry.increment(error)) {
        BtrfsGroup group;
        group.uuid = entry->path().filename().string();
        std::error_code gone;  // "features" and filesystems that are unmounted meanwhile have no "devices"
        for (fs::directory_iterator member(entry->path() / "devices", gone), last; !gone && member != last;
             member.increment(gone))
            if (const auto device = graph.device_named(member->path().filename().string()))
                group.devices.push_back(*device);
        if (!group.devices.empty()) groups.push_back(std::move(group));
    }
    return groups;
}

std::vector<Mount> all_mounts(const SystemRoots& roots, const BlockGraph& graph) {
    const std::vector<BtrfsGroup> groups = btrfs_groups(roots, graph);
    std::set<std::string> views;
    std::set<std::pair<std::uint64_t, DeviceNumber>> known;  // an id alone may be given anew meanwhile
    std::vector<Mount> mounts;
    bool any = false;
    for (const std::string& name : processes(roots)) {
        const std::string process = roots.proc + "/" + name;
        const std::string view = view_of(process);
        if (!view.empty() && views.count(view) != 0) continue;
        const auto text = read_if_there(process + "/mountinfo");
        if (!text) continue;
        any = true;
        if (!view.empty()) views.insert(view);
        std::istringstream lines(*text);
        for (std::string line; std::getline(lines, line);) {
            auto mount = parse_mountinfo_line(line);
            if (!mount || !known.insert({mount->id, mount->device}).second) continue;
            if (name != "self") std::from_chars(name.data(), name.data() + name.size(), mount->seen_by);
            find_sources(*mount, process, graph, groups);
            mounts.push_back(std::move(*mount));
        }
    }
    if (!any)
        throw_error(Code::kUnsupported,
                    "{}: shows no process, so nobody can tell what is mounted; mount procfs on {}",
                    roots.proc, roots.proc);
    return mounts;
}

std::vector<SwapArea> active_swaps(const SystemRoots& roots, const BlockGraph& graph) {
    std::vector<SwapArea> areas;
    std::istringstream lines(
        read_if_there(roots.proc + "/swaps").value_or(""));  // not there: a kernel without swap
    std::string line;
    std::getline(lines, line);  // the heading
    while (std::getline(lines, line)) {
        const std::vector<std::string> words = words_of(line);
        if (words.size() < 2) continue;
        SwapArea area;
        area.path = unescape_octal(words[0]);
        const auto where = source_identity(roots.proc + "/self", area.path, graph);
        if (!where) continue;  // a name of another mount namespace: its mount is found there
        area.where = *where;
        area.filesystem = where->is_block_device ? 0 : where->device_number;
        areas.push_back(std::move(area));
    }
    return areas;
}

}  // namespace dupengine::layout
