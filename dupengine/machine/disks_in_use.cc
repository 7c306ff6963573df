#include "machine/disks_in_use.h"

#include <algorithm>
#include <filesystem>
#include <fstream>

#include "machine/disk_uses.h"

namespace dupengine::machine {
namespace {

namespace fs = std::filesystem;

std::string first_word(const fs::path& file) {
    std::ifstream stream(file);
    std::string word;
    stream >> word;
    return word;
}

// It is made of nothing else that this machine sees, and writes to it can be followed.
bool is_bottom_disk(const fs::path& folder) {
    std::error_code none;
    const bool stands_on_others =
        fs::exists(folder / "slaves", none) && !fs::is_empty(folder / "slaves", none);
    return fs::exists(folder / "mq", none) && !fs::exists(folder / "loop", none) && !stands_on_others &&
           first_word(folder / "ro") != "1" && first_word(folder / "size") != "0";
}

bool holds_the_root(const DiskUses& uses) {
    return std::ranges::any_of(uses.mounts, [](const MountPlace& mount) { return mount.path == "/"; });
}

}  // namespace

std::vector<std::string> find_disks_in_use() {
    std::vector<std::string> names, found;
    for (const auto& entry : fs::directory_iterator("/sys/block"))
        if (is_bottom_disk(entry.path())) names.push_back(entry.path().filename());
    std::ranges::sort(names);
    for (std::string& name : names) {
        std::ranges::replace(name, '!', '/');  // as sysfs writes it: "cciss!c0d0"
        const std::string disk = "/dev/" + name;
        const DiskUses uses = look_at_uses(disk);
        if (uses.mounts.empty() && uses.swap.empty()) continue;
        found.insert(holds_the_root(uses) ? found.begin() : found.end(), disk);
    }
    return found;
}

}  // namespace dupengine::machine
