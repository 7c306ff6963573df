#pragma once
// A real web server, nginx, on loopback: a folder over HTTP, and over HTTPS (HTTP/1.1 and 2) with a
// certificate of an authority of its own. Below /reports/ it takes files (PUT). Ends with the object, and
// with the test program whatever happens.

#include <sys/types.h>

#include <string>

#include "tests/support/scratch.h"

namespace dupengine::test {

class Nginx {
  public:
    explicit Nginx(const std::string& folder);
    ~Nginx();
    Nginx(const Nginx&) = delete;
    Nginx& operator=(const Nginx&) = delete;

    /// "http://127.0.0.1:PORT", "https://127.0.0.1:PORT"
    std::string http() const { return "http://127.0.0.1:" + std::to_string(http_port_); }
    std::string https() const { return "https://127.0.0.1:" + std::to_string(https_port_); }
    std::string authority() const { return scratch_.file("authority.crt"); }
    struct Traffic {
        std::uint64_t requests = 0, bytes_sent = 0, http2_requests = 0;
    };
    /// Since this was asked before, or the beginning.
    Traffic traffic();

  private:
    void make_certificates();
    ScratchFolder scratch_;
    unsigned http_port_ = 0, https_port_ = 0;
    ::pid_t process_ = -1;
    std::streamoff log_read_ = 0;
    unsigned marks_ = 0;
};

}  // namespace dupengine::test
