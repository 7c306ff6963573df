#include "wire/tcp.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <charconv>
#include <memory>

namespace dupengine::wire {
namespace {

struct FreeAddresses {
    void operator()(addrinfo* list) const { ::freeaddrinfo(list); }
};
using AddressList = std::unique_ptr<addrinfo, FreeAddresses>;

// A descriptor that becomes readable when somebody asks to stop, so that poll(2) sees it.
class StopEvent {
  public:
    explicit StopEvent(const std::stop_token& stop)
        : fd_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)), callback_(stop, Ring{fd_.get()}) {
        if (!fd_.valid()) throw_errno(Code::kInternal, errno, "no descriptor to wait with");
    }
    int fd() const { return fd_.get(); }

  private:
    struct Ring {
        int fd;
        void operator()() const noexcept { static_cast<void>(::eventfd_write(fd, 1)); }
    };
    Fd fd_;
    std::stop_callback<Ring> callback_;
};

int milliseconds_until(Deadline deadline) {
    using std::chrono::milliseconds;
    const auto left = std::chrono::ceil<milliseconds>(deadline - std::chrono::steady_clock::now());
    return static_cast<int>(std::clamp(left, milliseconds(0), milliseconds(3'600'000)).count());
}

enum class Wait { kReady, kLate, kStopped };

// `stop` -1: nobody stops it.
Wait wait_for(int fd, short events, Deadline deadline, int stop = -1) {
    for (;;) {
        pollfd fds[2] = {{fd, events, 0}, {stop, POLLIN, 0}};
        const int ready = ::poll(fds, 2, milliseconds_until(deadline));
        if (ready < 0 && errno != EINTR) throw_errno(Code::kInternal, errno, "poll");
        if (ready > 0 && fds[1].revents != 0) return Wait::kStopped;
        if (ready > 0 && fds[0].revents != 0) return Wait::kReady;
        if (std::chrono::steady_clock::now() >= deadline) return Wait::kLate;
    }
}

Address address_of(const sockaddr* address, socklen_t size) {
    char host[NI_MAXHOST] = "", service[NI_MAXSERV] = "0";
    if (::getnameinfo(address, size, host, sizeof host, service, sizeof service,
                      NI_NUMERICHOST | NI_NUMERICSERV) != 0)
        return {"unknown", 0};
    std::uint16_t port = 0;
    std::from_chars(service, service + std::char_traits<char>::length(service), port);
    return {host, port};
}

void set_option(int fd, int level, int option, int value) {
    if (::setsockopt(fd, level, option, &value, sizeof value) != 0)
        throw_errno(Code::kInternal, errno, "socket option {}", option);
}

// The kernel sizes its buffers by what the way can hold; a size of ours would end that.
void set_options(int fd) {
    set_option(fd, IPPROTO_TCP, TCP_NODELAY, 1);
    set_option(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
    set_option(fd, IPPROTO_TCP, TCP_KEEPIDLE, 15);
    set_option(fd, IPPROTO_TCP, TCP_KEEPINTVL, 10);
    set_option(fd, IPPROTO_TCP, TCP_KEEPCNT, 3);
    set_option(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, 45'000);
}

class TcpTransport final : public Transport {
  public:
    TcpTransport(Fd fd, const Address& other) : fd_(std::move(fd)), name_(other.text()) {
        set_options(fd_.get());
    }

    void send(std::span<const std::byte> bytes, Deadline deadline) override {
        while (!bytes.empty()) {
            const ssize_t sent = ::send(fd_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
            if (sent > 0)
                bytes = bytes.subspan(static_cast<std::size_t>(sent));
            else
                wait_or_throw(errno, POLLOUT, deadline);
        }
    }

    std::size_t receive(std::span<std::byte> buffer, Deadline deadline) override {
        for (;;) {
            const ssize_t received = ::recv(fd_.get(), buffer.data(), buffer.size(), MSG_DONTWAIT);
            if (received > 0) return static_cast<std::size_t>(received);
            if (received == 0 && is_closed_) throw_error(Code::kPeer, "{}: closed here", name_);
            if (received == 0) return 0;
            wait_or_throw(errno, POLLIN, deadline);
        }
    }

    // The descriptor stays until the end, so that no other thread can come upon another file under its
    // number.
    void close() noexcept override {
        is_closed_ = true;
        static_cast<void>(::shutdown(fd_.get(), SHUT_RDWR));
    }

    const std::string& name() const override { return name_; }

  private:
    void wait_or_throw(int error, short events, Deadline deadline) {
        if (error == EINTR) return;
        if (is_closed_) throw_error(Code::kPeer, "{}: closed here", name_);
        if (error != EAGAIN) throw_errno(Code::kPeer, error, "{}: the connection broke", name_);
        if (wait_for(fd_.get(), events, deadline) != Wait::kLate) return;
        throw_error(Code::kPeer, "{}: {}", name_,
                    events == POLLIN ? "silent for too long" : "took nothing for too long");
    }

    const Fd fd_;
    const std::string name_;
    std::atomic<bool> is_closed_{false};
};

AddressList resolve(const Address& address, int flags, Code code) {
    addrinfo hints{};
    hints.ai_socktype = SOCK_STREAM;
    hints.ai_flags = flags | AI_NUMERICSERV;
    addrinfo* list = nullptr;
    const int status = ::getaddrinfo(address.host.empty() ? nullptr : address.host.c_str(),
                                     std::to_string(address.port).c_str(), &hints, &list);
    if (status != 0) throw_error(code, "{}: {}", address.text(), ::gai_strerror(status));
    return AddressList(list);
}

// 0, or why not (errno).
int try_to_connect(const Fd& fd, const addrinfo& address, Deadline deadline, int stop) {
    if (::connect(fd.get(), address.ai_addr, address.ai_addrlen) == 0) return 0;
    if (errno != EINPROGRESS) return errno;
    switch (wait_for(fd.get(), POLLOUT, deadline, stop)) {
        case Wait::kLate:
            return ETIMEDOUT;
        case Wait::kStopped:
            return ECANCELED;
        case Wait::kReady:
            break;
    }
    int error = 0;
    socklen_t size = sizeof error;
    return ::getsockopt(fd.get(), SOL_SOCKET, SO_ERROR, &error, &size) == 0 ? error : errno;
}

std::uint16_t parse_port(std::string_view text, const std::string& whole) {
    std::uint16_t port = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), port);
    if (error != std::errc() || end != text.data() + text.size())
        throw_error(Code::kUsage, "{}: the port is no number below 65536", whole);
    return port;
}

// Listens, or says why not (errno).
int try_to_listen(const Fd& fd, const addrinfo& address) {
    const int on = 1, off = 0;
    // Strangers that come in a crowd must not fill it: who is not in it is asked to wait for a second.
    constexpr int kBacklog = 1024;
    // One socket for both families where it stands for all addresses.
    if (address.ai_family == AF_INET6)
        static_cast<void>(::setsockopt(fd.get(), IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off));
    if (::setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) != 0 ||
        ::bind(fd.get(), address.ai_addr, address.ai_addrlen) != 0 || ::listen(fd.get(), kBacklog) != 0)
        return errno;
    return 0;
}

}  // namespace

std::string Address::text() const {
    return host.find(':') == std::string::npos ? fmt::format("{}:{}", host, port)
                                               : fmt::format("[{}]:{}", host, port);
}

Address parse_address(const std::string& text, std::uint16_t default_port) {
    const bool has_controls =
        std::any_of(text.begin(), text.end(), [](unsigned char c) { return c <= ' ' || c == 0x7f; });
    if (text.empty() || text.size() > 300 || has_controls)
        throw_error(Code::kUsage, "'{}' is no HOST[:PORT]", has_controls ? "" : text);
    std::string host = text;
    std::string_view rest;
    if (text.front() == '[') {
        const std::size_t end = text.find(']');
        if (end == std::string::npos || end == 1) throw_error(Code::kUsage, "{}: is no [IPV6]:PORT", text);
        host = text.substr(1, end - 1);
        rest = std::string_view(text).substr(end + 1);
        if (!rest.empty() && rest.front() != ':') throw_error(Code::kUsage, "{}: is no [IPV6]:PORT", text);
    } else if (std::count(text.begin(), text.end(), ':') == 1) {
        const std::size_t colon = text.find(':');
        host = text.substr(0, colon);
        rest = std::string_view(text).substr(colon);
    }
    return {host, rest.empty() ? default_port : parse_port(rest.substr(1), text)};
}

Address parse_listening_address(const std::string& text, std::uint16_t default_port) {
    return text.empty() ? Address{"", default_port} : parse_address(text, default_port);
}

std::unique_ptr<Transport> connect_tcp(const Address& address, Deadline deadline,
                                       const std::stop_token& stop) {
    const AddressList list = resolve(address, 0, Code::kPeer);
    const StopEvent stop_event(stop);
    int left = 0, error = 0;
    for (const addrinfo* one = list.get(); one != nullptr; one = one->ai_next)
        ++left;
    for (const addrinfo* one = list.get(); one != nullptr; one = one->ai_next, --left) {
        // Each has its share of the time, so that a dead first address leaves some for the second.
        const auto now = std::chrono::steady_clock::now();
        const Deadline share = left > 1 && deadline > now ? now + (deadline - now) / left : deadline;
        Fd fd(::socket(one->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
        error = fd.valid() ? try_to_connect(fd, *one, share, stop_event.fd()) : errno;
        if (error == 0) return std::make_unique<TcpTransport>(std::move(fd), address);
        if (error == ECANCELED)
            throw_error(Code::kInterrupted, "{}: stopped while connecting", address.text());
    }
    throw_errno(Code::kPeer, error, "{}: no connection", address.text());
}

Listener::Listener(const Address& address) {
    const AddressList list = resolve(address, AI_PASSIVE, Code::kRefused);
    int error = 0;
    // IPv6 first where it is for all addresses: that socket takes IPv4, too.
    for (const int family : {AF_INET6, AF_INET})
        for (const addrinfo* one = list.get(); one != nullptr && !fd_.valid(); one = one->ai_next) {
            if (one->ai_family != family) continue;
            Fd fd(::socket(one->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
            error = fd.valid() ? try_to_listen(fd, *one) : errno;
            if (error == 0) fd_ = std::move(fd);
        }
    if (!fd_.valid()) throw_errno(Code::kRefused, error, "{}: cannot listen there", address.text());
    sockaddr_storage got{};
    socklen_t size = sizeof got;
    if (::getsockname(fd_.get(), reinterpret_cast<sockaddr*>(&got), &size) != 0)
        throw_errno(Code::kInternal, errno, "getsockname");
    address_ = address_of(reinterpret_cast<sockaddr*>(&got), size);
}

std::unique_ptr<Transport> Listener::accept(Deadline deadline, const std::stop_token& stop) {
    const StopEvent stop_event(stop);
    for (;;) {
        if (wait_for(fd_.get(), POLLIN, deadline, stop_event.fd()) != Wait::kReady) return nullptr;
        sockaddr_storage other{};
        socklen_t size = sizeof other;
        auto* const address = reinterpret_cast<sockaddr*>(&other);
        Fd fd(::accept4(fd_.get(), address, &size, SOCK_CLOEXEC | SOCK_NONBLOCK));
        if (fd.valid()) return std::make_unique<TcpTransport>(std::move(fd), address_of(address, size));
        // Errors of the one connection come here, too (accept(2)); the next one is another.
        if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM)
            throw_errno(Code::kPeer, errno, "{}: takes no connection", address_.text());
    }
}

}  // namespace dupengine::wire
