#include "tests/support/network_lab.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <exception>
#include <set>
#include <thread>

#include "base/error.h"
#include "tests/support/scratch.h"

namespace dupengine::test {
namespace {

void require(bool is_good, const char* what) {
    if (!is_good) throw_errno(Code::kInternal, errno, "{}", what);
}

int run_reporting(const std::function<void()>& body) {
    try {
        body();
    } catch (const std::exception& e) {
        ADD_FAILURE() << "thrown: " << e.what();
    }
    std::fflush(nullptr);
    return testing::Test::HasFailure() ? 1 : 0;
}

void enter_own_world() {
    require(::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0, "mounts of its own");
    require(::mount("proc", "/proc", "proc", 0, nullptr) == 0, "/proc of its own");
    require(::mount("sysfs", "/sys", "sysfs", 0, nullptr) == 0, "/sys of its own");
    require(::mount("tmpfs", "/run", "tmpfs", 0, "mode=0755") == 0, "/run of its own");
    ip({"link", "set", "lo", "up"});
}

int wait_for(pid_t pid) {
    int status = 0;
    while (::waitpid(pid, &status, 0) < 0 && errno == EINTR)
        continue;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

struct SocketAddress {
    sockaddr_storage storage{};
    socklen_t size = 0;
    const sockaddr* get() const { return reinterpret_cast<const sockaddr*>(&storage); }
};

SocketAddress address_of(const std::string& text, std::uint16_t port) {
    SocketAddress address;
    if (text.find(':') != std::string::npos) {
        auto& six = reinterpret_cast<sockaddr_in6&>(address.storage);
        six.sin6_family = AF_INET6;
        six.sin6_port = htons(port);
        require(::inet_pton(AF_INET6, text.c_str(), &six.sin6_addr) == 1, "an address");
        address.size = sizeof six;
    } else {
        auto& four = reinterpret_cast<sockaddr_in&>(address.storage);
        four.sin_family = AF_INET;
        four.sin_port = htons(port);
        require(::inet_pton(AF_INET, text.c_str(), &four.sin_addr) == 1, "an address");
        address.size = sizeof four;
    }
    return address;
}

}  // namespace

void in_own_network(const std::function<void()>& body) {
    std::fflush(nullptr);
    const pid_t child = ::fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
        ::prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (::unshare(CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWPID) != 0) ::_exit(100);
        // All processes of the namespace end with its first one.
        const pid_t first = ::fork();
        if (first == 0) {
            ::prctl(PR_SET_PDEATHSIG, SIGKILL);
            ::_exit(run_reporting([&body] {
                enter_own_world();
                body();
            }));
        }
        ::_exit(first < 0 ? 100 : wait_for(first));
    }
    const int status = wait_for(child);
    EXPECT_NE(status, 100) << "no namespaces of its own: is this root?";
    EXPECT_EQ(status, 0) << "see above";
}

std::string ip(const std::vector<std::string>& arguments) {
    std::vector<std::string> words = {"ip"};
    words.insert(words.end(), arguments.begin(), arguments.end());
    return must_run(words);
}

Outside::Outside() {
    std::thread([this] {
        if (::unshare(CLONE_NEWNET) == 0)
            place_.fd = Fd(::open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC));
    }).join();
    require(place_.fd.valid(), "a network namespace outside");
    place_.name = fmt::format("/proc/{}/fd/{}", ::getpid(), place_.fd.get());
    test::ip({"link", "add", "out0", "address", "02:00:00:00:00:01", "type", "veth", "peer", "name", "wire0",
              "address", "02:00:00:00:00:02"});
    test::ip({"link", "set", "wire0", "netns", place_.name});
    test::ip({"address", "add", "10.7.0.1/24", "dev", "out0"});
    test::ip({"address", "add", "fd07::1/64", "dev", "out0", "nodad"});
    test::ip({"link", "set", "out0", "up"});
    ip({"address", "add", "10.7.0.2/24", "dev", "wire0"});
    ip({"address", "add", "fd07::2/64", "dev", "wire0", "nodad"});
    ip({"link", "set", "wire0", "up"});
}

std::string Outside::ip(const std::vector<std::string>& arguments) const {
    const machine::InsideNamespace inside(place_);
    return test::ip(arguments);
}

FrameWatch::FrameWatch(const Outside& outside) {
    const machine::InsideNamespace inside(outside.place());
    socket_ = Fd(::socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, htons(ETH_P_ALL)));
    require(socket_.valid(), "a packet socket");
    const int room = 8 << 20;
    ::setsockopt(socket_.get(), SOL_SOCKET, SO_RCVBUFFORCE, &room, sizeof room);
    sockaddr_ll where{};
    where.sll_family = AF_PACKET;
    where.sll_protocol = htons(ETH_P_ALL);
    where.sll_ifindex = static_cast<int>(::if_nametoindex("wire0"));
    require(::bind(socket_.get(), reinterpret_cast<const sockaddr*>(&where), sizeof where) == 0, "wire0");
}

std::vector<Bytes> FrameWatch::take() {
    std::vector<Bytes> frames;
    for (;;) {
        Bytes frame(70'000);
        sockaddr_ll from{};
        socklen_t size = sizeof from;
        const ssize_t n = ::recvfrom(socket_.get(), frame.data(), frame.size(), 0,
                                     reinterpret_cast<sockaddr*>(&from), &size);
        if (n < 0) return frames;
        if (from.sll_pkttype == PACKET_OUTGOING || n < 14) continue;  // of the place outside itself
        frame.resize(static_cast<std::size_t>(n));
        frames.push_back(std::move(frame));
    }
}

std::vector<std::string> FrameWatch::take_senders() {
    std::set<std::string> senders;
    for (const Bytes& frame : take()) {
        std::string sender;
        for (std::size_t i = 6; i < 12; ++i)
            sender += (i == 6 ? "" : ":") + to_hex(std::span(frame).subspan(i, 1));
        senders.insert(sender);
    }
    return {senders.begin(), senders.end()};
}

Fd listen_at(const std::string& address, std::uint16_t port) {
    const SocketAddress where = address_of(address, port);
    Fd socket(::socket(where.storage.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0));
    const int yes = 1;
    ::setsockopt(socket.get(), SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    require(::bind(socket.get(), where.get(), where.size) == 0 && ::listen(socket.get(), 16) == 0,
            "a listener");
    return socket;
}

Fd start_connecting(const std::string& address, std::uint16_t port) {
    const SocketAddress where = address_of(address, port);
    Fd socket(::socket(where.storage.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    if (::connect(socket.get(), where.get(), where.size) != 0) require(errno == EINPROGRESS, "a connection");
    return socket;
}

Fd connect_to(const std::string& address, std::uint16_t port) {
    Fd socket = start_connecting(address, port);
    pollfd ready{socket.get(), POLLOUT, 0};
    int error = ETIMEDOUT;
    socklen_t size = sizeof error;
    if (::poll(&ready, 1, 5000) == 1) ::getsockopt(socket.get(), SOL_SOCKET, SO_ERROR, &error, &size);
    if (error != 0) throw_errno(Code::kInternal, error, "no connection to {} port {}", address, port);
    ::fcntl(socket.get(), F_SETFL, 0);
    return socket;
}

Fd accept_from(const Fd& listener) {
    pollfd ready{listener.get(), POLLIN, 0};
    require(::poll(&ready, 1, 5000) == 1, "somebody who connects");
    return Fd(::accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC));
}

void send_datagram(const std::string& address, std::uint16_t port) {
    const SocketAddress where = address_of(address, port);
    const Fd socket(::socket(where.storage.ss_family, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    ::sendto(socket.get(), "hello", 5, 0, where.get(), where.size);
}

}  // namespace dupengine::test
