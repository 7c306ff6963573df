#include "machine/next_system.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <ifaddrs.h>
#include <linux/kexec.h>
#include <net/if.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <fstream>
#include <memory>
#include <sstream>

#include "base/subprocess.h"

namespace dupengine::machine {
namespace {

std::string first_word(const std::string& path) {
    std::ifstream file(path);
    std::string word;
    file >> word;
    return word;
}

struct Ipv4 {
    std::string link, address, mask;
};

std::string as_text(const sockaddr* address) {
    std::array<char, INET_ADDRSTRLEN> text{};
    ::inet_ntop(AF_INET, &reinterpret_cast<const sockaddr_in*>(address)->sin_addr, text.data(), text.size());
    return text.data();
}

std::vector<Ipv4> list_ipv4() {
    ifaddrs* list = nullptr;
    if (::getifaddrs(&list) != 0) throw_errno(Code::kUnsupported, errno, "addresses of this machine");
    const std::unique_ptr<ifaddrs, void (*)(ifaddrs*)> held(list, ::freeifaddrs);
    std::vector<Ipv4> found;
    for (const ifaddrs* one = list; one != nullptr; one = one->ifa_next)
        if (one->ifa_addr != nullptr && one->ifa_netmask != nullptr && one->ifa_addr->sa_family == AF_INET &&
            (one->ifa_flags & IFF_LOOPBACK) == 0 && (one->ifa_flags & IFF_UP) != 0)
            found.push_back({one->ifa_name, as_text(one->ifa_addr), as_text(one->ifa_netmask)});
    return found;
}

struct DefaultRoute {
    std::string link, gateway;
};

// Lines of "Iface Destination Gateway Flags ...", addresses in hexadecimal as they lie in memory.
DefaultRoute default_route(const std::string& path) {
    std::ifstream table(path);
    std::string line;
    for (std::getline(table, line); std::getline(table, line);) {
        std::istringstream words(line);
        std::string link, destination;
        in_addr gateway{};
        words >> link >> destination >> std::hex >> gateway.s_addr;
        if (!words || destination != "00000000" || gateway.s_addr == 0) continue;
        std::array<char, INET_ADDRSTRLEN> text{};
        ::inet_ntop(AF_INET, &gateway, text.data(), text.size());
        return {link, text.data()};
    }
    return {};
}

}  // namespace

std::vector<std::string> obstacles_to_leaving(const std::string& proc) {
    std::vector<std::string> obstacles;
    if (first_word(proc + "/1/comm") != "systemd")
        obstacles.emplace_back("systemd does not run here, and nothing else stops what runs in order");
    if (first_word(proc + "/sys/kernel/kexec_load_disabled") != "0")
        obstacles.emplace_back("the kernel loads no other one (kexec_load_disabled, CONFIG_KEXEC)");
    return obstacles;
}

void load_next_system(const NextSystem& next) {
    const Fd kernel = open_path(next.kernel, O_RDONLY, Code::kUsage);
    // The size counts the zero at the end.
    if (::syscall(SYS_kexec_file_load, kernel.get(), next.initramfs.get(), next.command_line.size() + 1,
                  next.command_line.c_str(), 0UL) != 0)
        throw_errno(Code::kUnsupported, errno, "{}: the kernel does not start it from here", next.kernel);
}

void leave_for_next_system() {
    const RunResult result = run_program({"systemctl", "--no-block", "kexec"});
    if (result.status == 0) return;
    ::syscall(SYS_kexec_file_load, -1, -1, 0UL, nullptr, KEXEC_FILE_UNLOAD);
    throw_error(Code::kInternal, "this system does not stop: {}", result.complaint());
}

std::string ip_word(const std::string& route_path) {
    const DefaultRoute route = default_route(route_path);
    std::vector<Ipv4> own = list_ipv4();
    if (!route.link.empty()) std::erase_if(own, [&](const Ipv4& one) { return one.link != route.link; });
    const bool is_clear = !own.empty() && std::ranges::all_of(own, [&](const Ipv4& one) {
        return one.link == own.front().link;
    });
    if (!is_clear)
        throw_error(
            Code::kUnsupported,
            "this machine has {} with an IPv4 address: say which network there shall be (--append ip=...)",
            own.empty() ? "no link" : "several links");
    return fmt::format("ip={}::{}:{}:::", own.front().address, route.gateway, own.front().mask);
}

std::vector<std::string> split_command_line(const std::string& text) {
    std::vector<std::string> words;
    std::string word;
    bool is_quoted = false;
    for (const char c : text + ' ') {
        if (c == '"') is_quoted = !is_quoted;
        const bool is_end = !is_quoted && (c == ' ' || c == '\t' || c == '\n');
        if (!is_end)
            word += c;
        else if (!word.empty())
            words.push_back(std::exchange(word, {}));
    }
    return words;
}

}  // namespace dupengine::machine
