// tls_stream MIB CERT KEY: one TLS 1.3 stream of that many MiB from one process to another over 127.0.0.1,
// with nothing but OpenSSL: what the machine can do at best. The file of random bytes that is sent is
// standard input.

#include <arpa/inet.h>
#include <netinet/in.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <vector>

namespace {

constexpr std::size_t kPiece = 256 * 1024;

[[noreturn]] void fail(const char* what) {
    std::perror(what);
    ERR_print_errors_fp(stderr);
    std::exit(1);
}

SSL* connection(int socket, bool accepts, const char* certificate, const char* key) {
    SSL_CTX* context = SSL_CTX_new(accepts ? TLS_server_method() : TLS_client_method());
    SSL_CTX_set_min_proto_version(context, TLS1_3_VERSION);
    if (accepts && (SSL_CTX_use_certificate_file(context, certificate, SSL_FILETYPE_PEM) != 1 ||
                    SSL_CTX_use_PrivateKey_file(context, key, SSL_FILETYPE_PEM) != 1))
        fail("certificate");
    SSL* ssl = SSL_new(context);
    SSL_set_fd(ssl, socket);
    if ((accepts ? SSL_accept(ssl) : SSL_connect(ssl)) != 1) fail("handshake");
    return ssl;
}

void receive(int listener, std::size_t bytes, const char* certificate, const char* key) {
    SSL* ssl = connection(::accept(listener, nullptr, nullptr), true, certificate, key);
    std::vector<char> buffer(kPiece);
    while (bytes > 0) {
        const int count = SSL_read(ssl, buffer.data(), static_cast<int>(buffer.size()));
        if (count <= 0) fail("read");
        bytes -= std::min(bytes, static_cast<std::size_t>(count));
    }
    SSL_write(ssl, "k", 1);
}

void send(const sockaddr_in& address, std::size_t bytes) {
    const int socket = ::socket(AF_INET, SOCK_STREAM, 0);
    if (::connect(socket, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) fail("connect");
    const void* data = ::mmap(nullptr, bytes, PROT_READ, MAP_SHARED, STDIN_FILENO, 0);
    if (data == MAP_FAILED) fail("mmap");
    SSL* ssl = connection(socket, false, nullptr, nullptr);
    for (std::size_t at = 0; at < bytes; at += kPiece) {
        const auto count = static_cast<int>(std::min(kPiece, bytes - at));
        if (SSL_write(ssl, static_cast<const char*>(data) + at, count) != count) fail("write");
    }
    char heard = 0;
    if (SSL_read(ssl, &heard, 1) != 1) fail("the last word");
}

}  // namespace

int main(int argc, char** argv) {
    if (argc != 4) return 2;
    const std::size_t bytes = std::strtoull(argv[1], nullptr, 10) << 20;
    const int listener = ::socket(AF_INET, SOCK_STREAM, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    auto* any = reinterpret_cast<sockaddr*>(&address);
    if (::bind(listener, any, size) != 0 || ::listen(listener, 1) != 0 ||
        ::getsockname(listener, any, &size) != 0)
        fail("listen");
    const pid_t child = ::fork();
    if (child == 0) {
        receive(listener, bytes, argv[2], argv[3]);
        std::_Exit(0);
    }
    send(address, bytes);
    int status = 0;
    ::waitpid(child, &status, 0);
    return status;
}
