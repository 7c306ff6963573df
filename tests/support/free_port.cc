#include "tests/support/free_port.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>

#include "base/error.h"
#include "base/fd.h"

namespace dupengine::test {
namespace {

constexpr unsigned kFirst = 12'000, kCount = 20'000;  // below net.ipv4.ip_local_port_range

// An abstract name is of one network namespace, as ports are, and goes with the process.
Fd reserve(unsigned port) {
    Fd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    const std::string name = fmt::format("dupengine-test-port-{}", port);
    std::ranges::copy(name, address.sun_path + 1);
    const auto size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 + name.size());
    return ::bind(fd.get(), reinterpret_cast<const sockaddr*>(&address), size) == 0 ? std::move(fd) : Fd();
}

bool is_free(unsigned port) {
    const Fd fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    address.sin_port = htons(static_cast<std::uint16_t>(port));
    return ::bind(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0;
}

}  // namespace

std::uint16_t free_port() {
    const auto process = static_cast<unsigned>(::getpid());
    for (unsigned i = 0; i < kCount; ++i) {
        const unsigned port = kFirst + (process * 16 + i) % kCount;
        Fd reserved = reserve(port);
        if (!reserved.valid() || !is_free(port)) continue;
        static_cast<void>(reserved.release());  // to the end of the process
        return static_cast<std::uint16_t>(port);
    }
    throw_error(Code::kInternal, "no free port");
}

}  // namespace dupengine::test
