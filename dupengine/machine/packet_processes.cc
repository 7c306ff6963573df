#include "machine/packet_processes.h"

#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <climits>
#include <filesystem>
#include <fstream>
#include <optional>
#include <set>
#include <sstream>
#include <system_error>

#include "base/error.h"
#include "machine/network_namespaces.h"

namespace dupengine::machine {
namespace {

namespace fs = std::filesystem;
using Inode = std::uint64_t;

template <typename Number>
std::optional<Number> number_in(std::string_view text) {
    Number number = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
    if (text.empty() || error != std::errc() || end != text.data() + text.size()) return std::nullopt;
    return number;
}

// Of the network namespace of this thread. A heading, then a line for each; the inode is the last word, and 0
// if no descriptor is left.
void add_packet_sockets(std::set<Inode>& sockets) {
    constexpr const char* kList = "/proc/thread-self/net/packet";
    std::ifstream list(kList);
    std::string line;
    if (!std::getline(list, line)) {
        std::error_code none;
        if (fs::exists(kList, none)) throw_error(Code::kUnsupported, "{}: cannot be read", kList);
        return;  // a kernel without packet sockets, or their module is not loaded
    }
    while (std::getline(list, line)) {
        std::istringstream words(line);
        std::string word, last;
        while (words >> word)
            last = word;
        const auto inode = number_in<Inode>(last);
        if (!inode) throw_error(Code::kUnsupported, "{}: \"{}\" is not understood", kList, line);
        if (*inode != 0) sockets.insert(*inode);
    }
}

std::set<Inode> packet_sockets() {
    std::set<Inode> sockets;
    for (const NamespacePointer& where : find_network_namespaces()) {
        const InsideNamespace inside(*where);
        add_packet_sockets(sockets);
    }
    return sockets;
}

// Those of `sockets` among the descriptors of a folder. What ends meanwhile has none.
std::set<Inode> sockets_in(const fs::path& descriptors, const std::set<Inode>& sockets) {
    std::set<Inode> found;
    std::error_code gone;
    for (fs::directory_iterator at(descriptors, gone), end; !gone && at != end; at.increment(gone)) {
        char text[PATH_MAX];
        const ssize_t size = ::readlink(at->path().c_str(), text, sizeof text);
        std::string_view target(text, size < 0 ? 0 : static_cast<std::size_t>(size));
        if (!target.starts_with("socket:[") || !target.ends_with("]")) continue;
        target.remove_prefix(8);
        target.remove_suffix(1);
        if (const auto inode = number_in<Inode>(target); inode && sockets.contains(*inode))
            found.insert(*inode);
    }
    return found;
}

// Every thread can have descriptors of its own; almost none has.
std::set<Inode> sockets_of_threads(const fs::path& process, const std::set<Inode>& sockets) {
    std::set<Inode> found;
    std::error_code gone;
    for (fs::directory_iterator at(process / "task", gone), end; !gone && at != end; at.increment(gone))
        found.merge(sockets_in(at->path() / "fd", sockets));
    return found;
}

std::vector<pid_t> all_processes() {
    std::vector<pid_t> processes;
    std::error_code error;
    for (fs::directory_iterator at("/proc", error), end; !error && at != end; at.increment(error))
        if (const auto pid = number_in<pid_t>(at->path().filename().string())) processes.push_back(*pid);
    if (error || processes.empty())
        throw_errno(Code::kUnsupported, error.value(), "/proc: the processes cannot be listed");
    return processes;
}

std::string name_of(pid_t pid) {
    std::ifstream file(fmt::format("/proc/{}/comm", pid));
    std::string name;
    std::getline(file, name);
    return name;
}

bool is_dhcp_client(const std::string& name) {
    constexpr const char* kNames[] = {"dhclient", "dhcpcd", "udhcpc", "udhcpc6"};
    return std::find(std::begin(kNames), std::end(kNames), name) != std::end(kNames);
}

class Killing {
  public:
    void kill(pid_t pid) {
        if (pid == ::getpid() || !killed_.insert(pid).second) return;
        const std::string who = fmt::format("{} ({})", name_of(pid), pid);
        if (pid == 1)
            report_.left.push_back(who + ": the first process cannot be ended");
        else if (::kill(pid, SIGKILL) == 0)
            report_.ended.push_back(who);
        else if (errno != ESRCH)
            report_.left.push_back(who + ": " + std::generic_category().message(errno));
    }
    EndedProcesses take(std::size_t without_holder) {
        if (without_holder != 0)
            report_.left.push_back(fmt::format("{} packet socket{} of nobody who is seen", without_holder,
                                               without_holder == 1 ? "" : "s"));
        return std::move(report_);
    }

  private:
    std::set<pid_t> killed_;
    EndedProcesses report_;
};

}  // namespace

EndedProcesses kill_packet_processes() {
    const std::set<Inode> sockets = packet_sockets();
    const std::vector<pid_t> processes = all_processes();
    std::set<Inode> unseen = sockets;
    Killing killing;
    const auto look = [&](auto&& sockets_of) {
        const std::set<Inode> wanted = unseen;
        for (const pid_t pid : processes) {
            const std::set<Inode> its = sockets_of(fs::path("/proc") / std::to_string(pid), wanted);
            if (!its.empty()) killing.kill(pid);
            for (const Inode inode : its)
                unseen.erase(inode);
        }
    };
    for (const pid_t pid : processes)
        if (is_dhcp_client(name_of(pid))) killing.kill(pid);
    if (!unseen.empty())
        look([](const fs::path& process, const auto& wanted) { return sockets_in(process / "fd", wanted); });
    if (!unseen.empty()) look(sockets_of_threads);
    return killing.take(unseen.size());
}

}  // namespace dupengine::machine
