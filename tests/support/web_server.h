#pragma once
// A web server on loopback over a folder, one thread a connection, that misbehaves as a test wants: what it
// is about to answer can be replaced, byte for byte. Counts what it sends.

#include <atomic>
#include <functional>
#include <list>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <thread>

#include "base/fd.h"

namespace dupengine::test {

class WebServer {
  public:
    struct Request {
        std::string method, path;                                      // "/packs/x.pack"
        std::map<std::string, std::string> headers;                    // names in lower case
        unsigned number = 0;                                           // of this path and method, from 1
        std::optional<std::pair<std::uint64_t, std::uint64_t>> range;  // first and last byte
    };
    enum class Then { kKeep, kClose, kReset, kStall };
    struct Answer {
        std::string status = "200 OK";
        std::map<std::string, std::string> headers;
        std::string body;
        std::string protocol = "HTTP/1.1";
        std::optional<std::string> raw = {};  ///< in place of all of these
        std::size_t cut = ~std::size_t{0};    ///< of the bytes on the wire, so many are sent
        bool repeats = false;                 ///< the body, without end
        unsigned drip_ms = 0;                 ///< pause after each byte of the body
        Then then = Then::kKeep;
    };
    /// Changes what a good server answers.
    using Change = std::function<void(const Request&, Answer&)>;

    explicit WebServer(std::string folder, Change change = {});
    ~WebServer();
    WebServer(const WebServer&) = delete;
    WebServer& operator=(const WebServer&) = delete;

    /// "http://127.0.0.1:PORT"
    std::string address() const { return "http://127.0.0.1:" + std::to_string(port_); }
    std::uint16_t port() const { return port_; }
    /// From the next request on.
    void set_change(Change change);
    std::uint64_t bytes_sent() const { return bytes_sent_; }
    std::uint64_t requests() const { return requests_; }
    unsigned most_at_once() const { return most_at_once_; }

  private:
    void accept_all();
    void converse(int fd);
    bool read_request(int fd, std::string& buffer, Request& request);
    Answer answer(const Request& request) const;
    bool send_answer(int fd, const Request& request, const Answer& answer);
    bool send_all(int fd, std::string_view bytes);

    std::string folder_;
    std::uint16_t port_ = 0;
    Fd listening_;
    std::atomic<bool> is_ending_{false};
    std::atomic<std::uint64_t> bytes_sent_{0}, requests_{0};
    std::atomic<unsigned> at_once_{0}, most_at_once_{0};
    std::mutex mutex_;
    Change change_;
    std::map<std::string, unsigned> counts_;
    std::list<int> open_;
    std::list<std::thread> threads_;  // ended by the destructor
    std::thread accepting_;
};

}  // namespace dupengine::test
