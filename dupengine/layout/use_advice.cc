#include "layout/use_advice.h"

#include <sys/stat.h>

#include <algorithm>
#include <filesystem>

namespace dupengine::layout {
namespace {

namespace fs = std::filesystem;

std::string process_name(const std::string& process) {
    std::string name = read_if_there(process + "/comm").value_or("");
    while (!name.empty() && name.back() == '\n')
        name.pop_back();
    return name.empty() ? std::string() : ", " + shell_word(name);
}

// The first process that has the device open, by any name of it: "1234, mkfs.ext4".
std::string process_with_open(DeviceNumber device, const std::string& proc) {
    std::error_code error;
    for (fs::directory_iterator process(proc, error), end; !error && process != end;
         process.increment(error)) {
        const std::string number = process->path().filename().string();
        if (number.find_first_not_of("0123456789") != std::string::npos) continue;
        std::error_code gone;
        for (fs::directory_iterator fd(process->path() / "fd", gone), last; !gone && fd != last;
             fd.increment(gone)) {
            struct stat st {};
            if (::stat(fd->path().c_str(), &st) == 0 && S_ISBLK(st.st_mode) && st.st_rdev == device)
                return number + process_name(process->path().string());
        }
    }
    return {};
}

}  // namespace

std::string shell_word(const std::string& text) {
    constexpr std::string_view kPlain =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789/._-+:@%,=";
    const auto is_plain = [&](char c) {
        return static_cast<unsigned char>(c) >= 0x80 || kPlain.find(c) != kPlain.npos;
    };
    if (!text.empty() && std::all_of(text.begin(), text.end(), is_plain)) return text;
    std::string word;
    for (char c : text) {
        const auto byte = static_cast<unsigned char>(c);
        if (byte < 0x20 || byte == 0x7f) {
            word += fmt::format("\\{:03o}", byte);
        } else {
            if (c == '\'' || c == '\\') word += '\\';
            word += c;
        }
    }
    // $'...' is what bash and zsh know for escapes; plain quotes are enough where there are none.
    return (word == text ? "'" : "$'") + word + "'";
}

std::string advice_for_mount(const Mount& mount, const std::string& proc) {
    const std::string point = shell_word(mount.point);
    if (mount.seen_by == 0) return fmt::format("mounted on {}: umount {}", point, point);
    return fmt::format("mounted on {} as process {}{} sees it: nsenter -t {} -m umount {}", point,
                       mount.seen_by, process_name(fmt::format("{}/{}", proc, mount.seen_by)), mount.seen_by,
                       point);
}

std::string advice_for_swap(const SwapArea& area) {
    const std::string path = shell_word(area.path);
    return fmt::format("{}: swapoff {}", area.where.is_block_device ? "swap" : "swap file " + path, path);
}

std::string advice_for_loop(const std::string& loop_node) {
    return fmt::format("backs {}: losetup -d {}", loop_node, loop_node);
}

std::string advice_for_loop_inside(const std::string& loop_node, const std::string& backing_name) {
    return fmt::format("its filesystem holds {}, which backs {}: losetup -d {}", shell_word(backing_name),
                       loop_node, loop_node);
}

std::string advice_for_hidden_btrfs(const std::string& uuid) {
    return fmt::format("part of btrfs {}, mounted where no process shows it: unmount it", uuid);
}

std::string advice_for_holder(const BlockGraph& graph, DeviceNumber holder) {
    const std::string node = graph.node(holder);
    const std::string name = graph.attribute(holder, "dm/name");
    if (!name.empty()) {
        const std::string uuid = graph.attribute(holder, "dm/uuid");
        const char* command = uuid.starts_with("CRYPT-") ? "cryptsetup close"
                              : uuid.starts_with("LVM-") ? "lvchange -an /dev/mapper/"
                                                         : "dmsetup remove";
        const std::string word = shell_word(name);
        return fmt::format("holds {} ({}): {}{}{}", node, word, command, uuid.starts_with("LVM-") ? "" : " ",
                           word);
    }
    if (!graph.attribute(holder, "md/level").empty())
        return fmt::format("member of the RAID {}: mdadm --stop {}", node, node);
    return fmt::format("holds {}: stop that first", node);
}

std::string advice_for_exclusive(DeviceNumber device, const std::string& proc) {
    const std::string process = process_with_open(device, proc);
    if (process.empty())
        return "held exclusively by another program, or mounted where no process shows it: end that";
    return fmt::format("held exclusively by another program; process {} has it open: end that", process);
}

}  // namespace dupengine::layout
