// tls_stream MIB CERT KEY [SOURCE TARGET]: one TLS 1.3 stream of that many MiB from one process to another
// over 127.0.0.1, with nothing but OpenSSL: what the machine can do at best. The file of random bytes that is
// sent is standard input. With SOURCE and TARGET, which are devices, one end reads the first and the other
// writes the second (O_DIRECT), and nothing is looked at: what it can do at best between disks.

#include <arpa/inet.h>
#include <fcntl.h>
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
#include <memory>

namespace {

constexpr std::size_t kPiece = 256 * 1024;

[[noreturn]] void fail(const char* what) {
    std::perror(what);
    ERR_print_errors_fp(stderr);
    std::exit(1);
}

struct Free {
    void operator()(char* p) const { std::free(p); }
};
using Buffer = std::unique_ptr<char, Free>;

Buffer make_buffer() {
    return Buffer(static_cast<char*>(std::aligned_alloc(4096, kPiece)));
}

int open_device(const char* path, int flags) {
    const int fd = ::open(path, flags | O_DIRECT | O_CLOEXEC);
    if (fd < 0) fail(path);
    return fd;
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

// What goes out: a file that is in memory, or a device.
class Source {
  public:
    Source(const char* device, std::size_t bytes)
        : fd_(device != nullptr ? open_device(device, O_RDONLY) : -1) {
        if (device != nullptr) return;
        mapped_ = static_cast<const char*>(::mmap(nullptr, bytes, PROT_READ, MAP_SHARED, STDIN_FILENO, 0));
        if (mapped_ == MAP_FAILED) fail("mmap");
    }
    const char* read(std::size_t at, std::size_t count) {
        if (mapped_ != nullptr) return mapped_ + at;
        if (::pread(fd_, buffer_.get(), count, static_cast<off_t>(at)) != static_cast<ssize_t>(count))
            fail("reading");
        return buffer_.get();
    }

  private:
    int fd_;
    const char* mapped_ = nullptr;
    Buffer buffer_ = make_buffer();
};

void receive(int listener, std::size_t bytes, char** files, const char* target) {
    SSL* ssl = connection(::accept(listener, nullptr, nullptr), true, files[0], files[1]);
    const int fd = target != nullptr ? open_device(target, O_WRONLY) : -1;
    const Buffer buffer = make_buffer();
    for (std::size_t at = 0; at < bytes;) {
        const std::size_t piece = std::min(kPiece, bytes - at);
        for (std::size_t have = 0; have < piece;) {
            const int count = SSL_read(ssl, buffer.get() + have, static_cast<int>(piece - have));
            if (count <= 0) fail("read");
            have += static_cast<std::size_t>(count);
        }
        if (fd >= 0 &&
            ::pwrite(fd, buffer.get(), piece, static_cast<off_t>(at)) != static_cast<ssize_t>(piece))
            fail("writing");
        at += piece;
    }
    if (fd >= 0 && ::fsync(fd) != 0) fail("flush");
    SSL_write(ssl, "k", 1);
}

void send(const sockaddr_in& address, std::size_t bytes, const char* device) {
    const int socket = ::socket(AF_INET, SOCK_STREAM, 0);
    if (::connect(socket, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) fail("connect");
    Source source(device, bytes);
    SSL* ssl = connection(socket, false, nullptr, nullptr);
    for (std::size_t at = 0; at < bytes; at += kPiece) {
        const std::size_t count = std::min(kPiece, bytes - at);
        const int size = static_cast<int>(count);
        if (SSL_write(ssl, source.read(at, count), size) != size) fail("write");
    }
    char heard = 0;
    if (SSL_read(ssl, &heard, 1) != 1) fail("the last word");
}

}  // namespace

int main(int argc, char** argv) {
    if (argc != 4 && argc != 6) return 2;
    const char* const source = argc == 6 ? argv[4] : nullptr;
    const char* const target = argc == 6 ? argv[5] : nullptr;
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
        receive(listener, bytes, argv + 2, target);
        std::_Exit(0);
    }
    send(address, bytes, source);
    int status = 0;
    ::waitpid(child, &status, 0);
    return status;
}
