#include "machine/whole_disk.h"

#include <sys/stat.h>
#include <sys/sysmacros.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <vector>

#include "base/error.h"

namespace dupengine::machine {
namespace {

std::string first_line(const std::string& path) {
    std::ifstream file(path);
    std::string line;
    std::getline(file, line);
    return line;
}

// What tells two disks apart, wherever their drivers put it; empty if nothing does.
std::string identity_of(const std::string& folder) {
    const std::string scsi = first_line(folder + "/device/wwid");
    return scsi.empty() ? first_line(folder + "/wwid") : scsi;
}

// Half of the writes to a disk of several paths would not be seen.
void refuse_other_paths(const std::string& disk, const std::string& folder) {
    std::error_code none;
    for (const auto& holder : std::filesystem::directory_iterator(folder + "/holders", none))
        if (first_line(holder.path() / "dm/uuid").starts_with("mpath-"))
            throw_error(Code::kRefused, "{}: is one path of several to its disk; name /dev/{} instead", disk,
                        holder.path().filename().string());
    const std::string identity = identity_of(folder);
    if (identity.empty()) return;
    const auto own = std::filesystem::canonical(folder, none);
    for (const auto& other : std::filesystem::directory_iterator("/sys/block", none))
        if (identity_of(other.path()) == identity && std::filesystem::canonical(other.path(), none) != own)
            throw_error(Code::kRefused, "{}: /dev/{} is another path to the same disk", disk,
                        other.path().filename().string());
}

// The whole disks that a device of device-mapper or md is made of, however many of those lie between.
std::vector<std::string> disks_beneath(const std::string& folder) {
    namespace fs = std::filesystem;
    std::error_code gone;
    std::vector<std::string> found;
    for (const auto& slave : fs::directory_iterator(folder + "/slaves", gone)) {
        fs::path on = fs::canonical(slave.path(), gone);
        if (fs::exists(on / "partition", gone)) on = on.parent_path();
        std::vector<std::string> more = disks_beneath(on);
        if (more.empty()) more.push_back("/dev/" + on.filename().string());
        for (std::string& disk : more)
            if (std::ranges::find(found, disk) == found.end()) found.push_back(std::move(disk));
    }
    std::ranges::sort(found);
    return found;
}

}  // namespace

std::string folder_of_disk(dev_t number) {
    return fmt::format("/sys/dev/block/{}:{}", major(number), minor(number));
}

dev_t whole_disk_number(const std::string& disk) {
    struct stat st {};
    if (::stat(disk.c_str(), &st) != 0) throw_errno(Code::kRefused, errno, "{}: cannot be looked at", disk);
    if (!S_ISBLK(st.st_mode)) throw_error(Code::kRefused, "{}: is not a block device", disk);
    const std::string folder = folder_of_disk(st.st_rdev);
    if (std::filesystem::exists(folder + "/partition"))
        throw_error(Code::kRefused, "{}: is a partition; name the whole disk", disk);
    refuse_other_paths(disk, folder);
    if (std::filesystem::exists(folder + "/mq")) return st.st_rdev;
    const std::vector<std::string> beneath = disks_beneath(folder);
    if (!beneath.empty())
        throw_error(
            Code::kUnsupported,
            "{}: its driver takes writes without requests; it stands on other disks, where they can be "
            "watched: name those ({})",
            disk, fmt::join(beneath, ", "));
    throw_error(Code::kUnsupported,
                "{}: its driver takes writes without requests, and those cannot be watched yet; stop what "
                "uses it and copy it",
                disk);
}

}  // namespace dupengine::machine
