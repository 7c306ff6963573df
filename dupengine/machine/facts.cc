#include "machine/facts.h"

#include <mntent.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <set>
#include <sstream>

#include "base/fd.h"
#include "base/units.h"

namespace dupengine::machine {
namespace {

constexpr std::size_t kMostText = 16 * kMiB;

std::string read_if_there(const std::string& path) {
    try {
        std::string text = read_file(path, Code::kUnsupported, kMostText);
        while (!text.empty() && text.back() == '\n')
            text.pop_back();
        return text;
    } catch (const Error&) {
        return {};
    }
}

// proc_meminfo(5): "MemTotal:       16309636 kB".
std::uint64_t memory_field(const std::string& text, const std::string& name) {
    const std::size_t at = text.find(name + ":");
    if (at == std::string::npos) return 0;
    const std::size_t begin = std::min(text.find_first_not_of(' ', at + name.size() + 1), text.size());
    std::uint64_t kibibytes = 0;
    std::from_chars(text.data() + begin, text.data() + text.size(), kibibytes);
    return kibibytes * kKiB;
}

// "none [integrity] confidentiality"
std::string chosen_word(const std::string& text) {
    const std::size_t begin = text.find('['), end = text.find(']', begin);
    return begin == std::string::npos || end == std::string::npos ? ""
                                                                  : text.substr(begin + 1, end - begin - 1);
}

bool has_word(const std::string& text, const std::string& wanted) {
    std::istringstream words(text);
    for (std::string word; words >> word;)
        if (word == wanted) return true;
    return false;
}

// Those whose drivers have no way to come to rest (no freeze_fs and no freeze_super, Linux 6.1).
bool can_be_frozen(const std::string& type) {
    constexpr std::array kCannot = {"vfat",    "msdos", "exfat", "ntfs3",  "ntfs",
                                    "fuseblk", "udf",   "hfs",   "hfsplus"};
    return std::find(kCannot.begin(), kCannot.end(), type) == kCannot.end();
}

}  // namespace

Facts read_facts(const layout::SystemRoots& roots) {
    Facts facts;
    facts.kernel = read_if_there(roots.proc + "/version");
    facts.release = read_if_there(roots.proc + "/sys/kernel/osrelease");
    const std::string memory = read_if_there(roots.proc + "/meminfo");
    facts.memory_bytes = memory_field(memory, "MemTotal");
    const std::uint64_t available = memory_field(memory, "MemAvailable");
    facts.memory_in_use_bytes = facts.memory_bytes - std::min(available, facts.memory_bytes);
    facts.has_snapshot_device = std::filesystem::exists(roots.dev + "/snapshot");
    facts.can_hibernate = has_word(read_if_there(roots.sys + "/power/state"), "disk");
    facts.has_kcore = ::access((roots.proc + "/kcore").c_str(), R_OK) == 0;
    facts.lockdown = chosen_word(read_if_there(roots.sys + "/kernel/security/lockdown"));
    return facts;
}

std::vector<std::string> obstacles_to_restoring(const Facts& facts) {
    std::vector<std::string> obstacles;
    if (!facts.lockdown.empty() && facts.lockdown != "none")
        obstacles.push_back(
            fmt::format("the kernel is locked down ({}), as with Secure Boot", facts.lockdown));
    if (!facts.can_hibernate)
        obstacles.emplace_back("the kernel cannot hibernate (no \"disk\" in /sys/power/state)");
    if (!facts.has_snapshot_device)
        obstacles.emplace_back("there is no /dev/snapshot (CONFIG_HIBERNATION_SNAPSHOT_DEV)");
    return obstacles;
}

std::vector<std::string> obstacles_to_snapshots(const Facts& facts) {
    std::vector<std::string> obstacles = obstacles_to_restoring(facts);
    if (!facts.has_kcore) obstacles.emplace_back("/proc/kcore cannot be read (root, CONFIG_PROC_KCORE)");
    if (facts.memory_in_use_bytes > facts.memory_bytes / 2)
        obstacles.push_back(fmt::format("{} of {} of memory are in use; a snapshot needs half of it",
                                        format_size(facts.memory_in_use_bytes),
                                        format_size(facts.memory_bytes)));
    return obstacles;
}

std::vector<MountedFilesystem> mounted_filesystems(const layout::SystemRoots& roots) {
    std::vector<MountedFilesystem> found;
    std::set<std::string> seen;
    const std::unique_ptr<FILE, int (*)(FILE*)> mounts(
        ::setmntent((roots.proc + "/self/mounts").c_str(), "re"), ::endmntent);
    if (!mounts) return found;
    mntent entry{};
    std::array<char, 8192> text{};
    while (::getmntent_r(mounts.get(), &entry, text.data(), static_cast<int>(text.size())) != nullptr) {
        if (entry.mnt_fsname[0] != '/' || ::hasmntopt(&entry, MNTOPT_RO) != nullptr) continue;
        if (!seen.insert(entry.mnt_fsname).second) continue;  // mounted in several places
        found.push_back({entry.mnt_dir, entry.mnt_type, can_be_frozen(entry.mnt_type)});
    }
    return found;
}

}  // namespace dupengine::machine
