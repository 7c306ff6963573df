#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <stdexcept>

#include "parts.h"
#include "steps.h"

namespace dupengine::live {
namespace {

int connect_to(const std::string& address, int port) {
    sockaddr_in server{};
    server.sin_family = AF_INET;
    server.sin_port = htons(static_cast<std::uint16_t>(port));
    if (::inet_pton(AF_INET, address.c_str(), &server.sin_addr) != 1)
        throw std::runtime_error(address + " is no IPv4 address");
    const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || ::connect(fd, reinterpret_cast<const sockaddr*>(&server), sizeof server) != 0)
        throw std::runtime_error(address + ": " + std::strerror(errno));
    const int on = 1;
    ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    return fd;
}

// Empty, or what went wrong.
std::string exchange(int fd, const std::string& line) {
    std::string answer;
    if (::send(fd, line.data(), line.size(), MSG_NOSIGNAL) != static_cast<ssize_t>(line.size()))
        return std::string("send: ") + std::strerror(errno);
    while (answer.size() < line.size()) {
        char bytes[64];
        const ssize_t done = ::recv(fd, bytes, sizeof bytes, 0);
        if (done < 0 && errno == EINTR) continue;
        if (done < 0) return std::string("receive: ") + std::strerror(errno);
        if (done == 0) return "the server hung up";
        answer.append(bytes, static_cast<std::size_t>(done));
    }
    return answer == line ? "" : "another answer than what was said";
}

}  // namespace

int run_client(const std::string& folder, const std::string& address, int port) {
    const int fd = connect_to(address, port);
    Steps steps(folder, "client", Steps::Keep::kWritten);
    for (std::uint64_t next = milliseconds();; next = milliseconds() + 100) {
        sleep_until(next);
        const std::string error = exchange(fd, std::to_string(steps.number()) + "\n");
        if (!error.empty()) {
            steps.fail(error);
            ::close(fd);
            return 1;
        }
        steps.step();
    }
}

}  // namespace dupengine::live
