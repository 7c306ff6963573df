#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/suspend_ioctls.h>
#include <netinet/in.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <stdexcept>

#include "parts.h"

namespace dupengine::live {
namespace {

[[noreturn]] void fail(const char* what) {
    throw std::runtime_error(std::string(what) + ": " + std::strerror(errno));
}

int connect_to(const std::string& address, int port) {
    sockaddr_in server{};
    server.sin_family = AF_INET;
    server.sin_port = htons(static_cast<std::uint16_t>(port));
    const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (::inet_pton(AF_INET, address.c_str(), &server.sin_addr) != 1 || fd < 0 ||
        ::connect(fd, reinterpret_cast<const sockaddr*>(&server), sizeof server) != 0)
        fail("connect");
    return fd;
}

}  // namespace

// As one would write it first: everything is frozen until all of the image has been sent.
int run_naive(const std::string& address, int port) {
    static char page[4096];
    const int to = connect_to(address, port);
    ::mlockall(MCL_CURRENT | MCL_FUTURE);
    const int device = ::open("/dev/snapshot", O_RDONLY | O_CLOEXEC);
    if (device < 0) fail("/dev/snapshot");
    ::sync();
    const auto begin = std::chrono::steady_clock::now();
    int is_here = 0;
    if (::ioctl(device, SNAPSHOT_FREEZE, 0) != 0) fail("freeze");
    if (::ioctl(device, SNAPSHOT_CREATE_IMAGE, &is_here) != 0) fail("create");
    unsigned long long bytes = 0;
    for (ssize_t got; (got = ::read(device, page, sizeof page)) > 0;
         bytes += static_cast<unsigned long long>(got))
        for (ssize_t sent = 0; sent < got;) {
            const ssize_t done = ::send(to, page + sent, static_cast<std::size_t>(got - sent), MSG_NOSIGNAL);
            if (done < 0) fail("send");
            sent += done;
        }
    ::ioctl(device, SNAPSHOT_FREE, 0);
    ::ioctl(device, SNAPSHOT_UNFREEZE, 0);
    const std::chrono::duration<double> took = std::chrono::steady_clock::now() - begin;
    std::printf("naive pause=%.3f bytes=%llu\n", took.count(), bytes);
    return 0;
}

}  // namespace dupengine::live
