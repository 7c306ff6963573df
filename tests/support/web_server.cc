#include "tests/support/web_server.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <filesystem>

#include "base/error.h"

namespace dupengine::test {

WebServer::WebServer(std::string folder, Change change)
    : folder_(std::move(folder)), change_(std::move(change)) {
    listening_ = Fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    auto* any = reinterpret_cast<sockaddr*>(&address);
    if (::bind(listening_.get(), any, size) != 0 || ::listen(listening_.get(), 64) != 0 ||
        ::getsockname(listening_.get(), any, &size) != 0)
        throw_errno(Code::kInternal, errno, "the server of a test cannot listen");
    port_ = ntohs(address.sin_port);
    accepting_ = std::thread([this] { accept_all(); });
}

WebServer::~WebServer() {
    is_ending_ = true;
    ::shutdown(listening_.get(), SHUT_RDWR);
    accepting_.join();
    {
        const std::scoped_lock lock(mutex_);
        for (const int fd : open_)
            ::shutdown(fd, SHUT_RDWR);
    }
    for (std::thread& thread : threads_)
        thread.join();
}

void WebServer::set_change(Change change) {
    const std::scoped_lock lock(mutex_);
    change_ = std::move(change);
}

void WebServer::accept_all() {
    while (!is_ending_) {
        const int fd = ::accept4(listening_.get(), nullptr, nullptr, SOCK_CLOEXEC);
        if (fd < 0) continue;
        const std::scoped_lock lock(mutex_);
        open_.push_back(fd);
        threads_.emplace_back([this, fd] {
            converse(fd);
            const std::scoped_lock ending(mutex_);
            open_.remove(fd);
            ::close(fd);
        });
    }
}

bool WebServer::read_request(int fd, std::string& buffer, Request& request) {
    std::size_t end = std::string::npos;
    while ((end = buffer.find("\r\n\r\n")) == std::string::npos) {
        char bytes[4096];
        const ::ssize_t got = ::recv(fd, bytes, sizeof bytes, 0);
        if (got <= 0) return false;
        buffer.append(bytes, static_cast<std::size_t>(got));
    }
    const std::string head = buffer.substr(0, end + 2);
    buffer.erase(0, end + 4);
    request.method = head.substr(0, head.find(' '));
    const std::size_t path = head.find(' ') + 1;
    request.path = head.substr(path, head.find(' ', path) - path);
    for (std::size_t line = head.find("\r\n") + 2; line < head.size();) {
        const std::size_t line_end = head.find("\r\n", line);
        const std::size_t colon = head.find(": ", line);
        std::string name = head.substr(line, colon - line);
        std::ranges::transform(name, name.begin(), [](unsigned char c) { return std::tolower(c); });
        request.headers[name] = head.substr(colon + 2, line_end - colon - 2);
        line = line_end + 2;
    }
    unsigned long long first = 0, last = 0;
    if (const auto range = request.headers.find("range");
        range != request.headers.end() &&
        std::sscanf(range->second.c_str(), "bytes=%llu-%llu", &first, &last) == 2)
        request.range = {first, last};
    return true;
}

// As a good server does it.
WebServer::Answer WebServer::answer(const Request& request) const {
    Answer answer;
    const std::string path = folder_ + request.path.substr(0, request.path.find('?'));
    struct stat info {};
    if (::stat(path.c_str(), &info) != 0 || !S_ISREG(info.st_mode)) {
        answer.status = "404 Not Found";
        answer.body = "there is no such file";
        answer.headers["Content-Length"] = std::to_string(answer.body.size());
        return answer;
    }
    answer.body = read_file(path, Code::kInternal);
    answer.headers["ETag"] = fmt::format("\"{:x}-{:x}\"", info.st_mtim.tv_sec, info.st_size);
    answer.headers["Last-Modified"] = "Wed, 21 Oct 2015 07:28:00 GMT";
    if (request.range) {
        const auto [first, last] = *request.range;
        const std::uint64_t size = answer.body.size();
        if (first >= size) {
            answer.status = "416 Range Not Satisfiable";
            answer.headers["Content-Range"] = fmt::format("bytes */{}", size);
            answer.body.clear();
        } else {
            answer.status = "206 Partial Content";
            answer.body = answer.body.substr(first, last - first + 1);
            answer.headers["Content-Range"] =
                fmt::format("bytes {}-{}/{}", first, first + answer.body.size() - 1, size);
        }
    }
    answer.headers["Content-Length"] = std::to_string(answer.body.size());
    return answer;
}

bool WebServer::send_all(int fd, std::string_view bytes) {
    while (!bytes.empty()) {
        const ::ssize_t sent = ::send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL);
        if (sent <= 0) return false;
        bytes_sent_ += static_cast<std::uint64_t>(sent);
        bytes.remove_prefix(static_cast<std::size_t>(sent));
    }
    return true;
}

bool WebServer::send_answer(int fd, const Request& request, const Answer& answer) {
    std::string head = answer.protocol + " " + answer.status + "\r\n";
    for (const auto& [name, value] : answer.headers)
        head += name + ": " + value + "\r\n";
    head += "\r\n";
    const std::string body = request.method == "HEAD" ? "" : answer.body;
    if (answer.drip_ms != 0) {
        send_all(fd, head);
        for (const char c : body) {
            if (is_ending_ || !send_all(fd, {&c, 1})) return false;
            std::this_thread::sleep_for(std::chrono::milliseconds(answer.drip_ms));
        }
        return true;
    }
    const std::string all = answer.raw ? *answer.raw : head + body;
    if (!send_all(fd, std::string_view(all).substr(0, answer.cut))) return false;
    while (answer.repeats && !is_ending_)
        if (!send_all(fd, answer.raw ? *answer.raw : body)) return false;
    return true;
}

void WebServer::converse(int fd) {
    std::string buffer;
    Request request;
    while (!is_ending_ && read_request(fd, buffer, request)) {
        ++requests_;
        most_at_once_ = std::max(most_at_once_.load(), ++at_once_);
        Answer answer = this->answer(request);
        Change change;
        {
            const std::scoped_lock lock(mutex_);
            request.number = ++counts_[request.method + request.path];
            change = change_;
        }
        if (change) change(request, answer);
        const bool is_sent = send_answer(fd, request, answer);
        --at_once_;
        if (!is_sent || answer.then == Then::kClose) return;
        if (answer.then == Then::kReset) {
            const ::linger at_once{1, 0};
            ::setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
            return;
        }
        while (answer.then == Then::kStall && !is_ending_) {
            char byte = 0;
            if (::recv(fd, &byte, 1, 0) <= 0) return;
        }
        request = {};
    }
}

}  // namespace dupengine::test
