#include "tests/support/nginx.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <netinet/in.h>
#include <signal.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fstream>

#include "base/fd.h"
#include "tests/support/becomes.h"
#include "tests/support/free_port.h"

namespace dupengine::test {
namespace {

sockaddr_in loopback(unsigned port) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    address.sin_port = htons(static_cast<std::uint16_t>(port));
    return address;
}

bool says(unsigned port, std::string_view words) {
    const Fd fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    const sockaddr_in address = loopback(port);
    return ::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0 &&
           ::send(fd.get(), words.data(), words.size(), MSG_NOSIGNAL) == static_cast<::ssize_t>(words.size());
}

bool listens(unsigned port) {
    return says(port, "");
}

}  // namespace

void Nginx::make_certificates() {
    must_run({"openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
              "-keyout", scratch_.file("authority.key"), "-out", authority(), "-subj", "/CN=a test"});
    must_run({"openssl", "req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout",
              scratch_.file("server.key"), "-out", scratch_.file("server.csr"), "-subj", "/CN=server"});
    std::ofstream(scratch_.file("names")) << "subjectAltName=IP:127.0.0.1\n";
    must_run({"openssl", "x509", "-req", "-in", scratch_.file("server.csr"), "-CA", authority(), "-CAkey",
              scratch_.file("authority.key"), "-CAcreateserial", "-extfile", scratch_.file("names"), "-out",
              scratch_.file("server.crt")});
}

Nginx::Nginx(const std::string& folder) : http_port_(free_port()), https_port_(free_port()) {
    make_certificates();
    std::ofstream config(scratch_.file("nginx.conf"));
    config << fmt::format(
        R"(daemon off; master_process off; pid {0}/pid; error_log {0}/errors;
events {{ worker_connections 64; }}
http {{
  log_format traffic '$server_protocol $bytes_sent $request';
  access_log {0}/access traffic;
  client_body_temp_path {0}/body; proxy_temp_path {0}/proxy; fastcgi_temp_path {0}/fastcgi;
  uwsgi_temp_path {0}/uwsgi; scgi_temp_path {0}/scgi;
  sendfile on; tcp_nopush on;
  server {{
    listen 127.0.0.1:{1};
    listen 127.0.0.1:{2} ssl http2;
    ssl_certificate {0}/server.crt; ssl_certificate_key {0}/server.key;
    root {3};
    location /reports/ {{ dav_methods PUT; create_full_put_path on; }}
    location /down/ {{ return 302 http://127.0.0.1:{1}/; }}
  }}
}}
)",
        scratch_.path(), http_port_, https_port_, folder);
    config.close();
    const std::string file = scratch_.file("nginx.conf"), errors = scratch_.file("errors");
    const char* argv[] = {"setpriv", "--pdeathsig",  "KILL", "/usr/sbin/nginx", "-c", file.c_str(),
                          "-e",      errors.c_str(), nullptr};
    if (const int error =
            ::posix_spawnp(&process_, argv[0], nullptr, nullptr, const_cast<char**>(argv), environ))
        throw_errno(Code::kInternal, error, "setpriv cannot be started");
    if (!becomes([this] { return listens(http_port_) && listens(https_port_); }))
        throw_error(Code::kInternal, "nginx does not listen: {}", read_file(errors, Code::kInternal));
}

Nginx::~Nginx() {
    ::kill(process_, SIGKILL);
    ::waitpid(process_, nullptr, 0);
}

Nginx::Traffic Nginx::traffic() {
    // A line comes after the answer that it is of; this one after those of all that was answered before.
    const std::string mark = fmt::format("/mark-{}", ++marks_);
    if (!says(http_port_, "GET " + mark + " HTTP/1.0\r\n\r\n"))
        throw_errno(Code::kInternal, errno, "nginx takes no call");
    const auto is_marked = [&] {
        return read_file(scratch_.file("access"), Code::kInternal).find(mark + " ") != std::string::npos;
    };
    if (!becomes(is_marked)) throw_error(Code::kInternal, "nginx does not write down what it sent");
    std::ifstream log(scratch_.file("access"));
    log.seekg(log_read_);
    Traffic traffic;
    for (std::string line; std::getline(log, line);) {
        log_read_ += static_cast<std::streamoff>(line.size()) + 1;
        if (line.find(" /mark-") != std::string::npos) continue;
        ++traffic.requests;
        traffic.http2_requests += line.starts_with("HTTP/2") ? 1 : 0;
        traffic.bytes_sent += std::stoull(line.substr(line.find(' ')));
    }
    return traffic;
}

}  // namespace dupengine::test
