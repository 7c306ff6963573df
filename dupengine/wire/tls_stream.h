#pragma once
// TLS over a Transport, whatever proves who is who: what the channel and enrolment share. Settings of a
// context, the handshake under a deadline, records gathered so that a large send is few system calls, errors
// as one line. For wire/ alone.
//
// Threads: one sends while another receives. OpenSSL's object is one for both directions and not safe for two
// threads; it is used under a mutex, and never while waiting for the other side.

#include <atomic>
#include <memory>
#include <mutex>

#include "base/bytes.h"
#include "wire/openssl.h"
#include "wire/transport.h"

namespace dupengine::wire {

enum class TlsRole { kConnects, kAccepts };

/// TLS 1.3 alone; no tickets, resumption, early data, renegotiation or compression; AES-128-GCM where the
/// processor has instructions for it, else ChaCha20-Poly1305; one ALPN protocol, without which the handshake
/// fails. `alpn` has static storage.
ContextPtr make_tls_context(TlsRole role, const char* alpn);

/// Sent under one key at most, by default. AES-GCM allows 2^24.5 full records (RFC 8446, 5.5), about 390 GiB.
inline constexpr std::uint64_t kKeyUpdateBytes = 64 * kGiB;

class TlsStream {
  public:
    /// `transport` is closed when this goes.
    TlsStream(std::unique_ptr<Transport> transport, SSL_CTX& context, TlsRole role);
    ~TlsStream();
    TlsStream(const TlsStream&) = delete;
    TlsStream& operator=(const TlsStream&) = delete;

    /// Throws kAuthenticity, kPeer; the transport is closed then.
    void handshake(Deadline deadline, std::string_view alpn);
    void send(std::span<const std::byte> bytes, Deadline deadline);
    std::size_t receive(std::span<std::byte> buffer, Deadline deadline);
    void finish(Deadline deadline);
    /// A text with its length in front, as 32 bits, little-endian. Receiving throws kPeer beyond `limit`.
    void send_block(std::string_view text, Deadline deadline);
    std::string receive_block(std::size_t limit, Deadline deadline);
    void close() noexcept { transport_->close(); }

    const std::string& name() const { return transport_->name(); }
    /// For questions after the handshake, while nobody sends or receives.
    SSL* ssl() const { return ssl_.get(); }
    std::uint64_t bytes_sent() const { return sent_; }
    std::uint64_t bytes_received() const { return received_; }
    void set_key_update_bytes(std::uint64_t bytes) { key_update_bytes_ = bytes; }

  private:
    friend struct StreamBio;  // what OpenSSL reads from and writes to
    void step_handshake(Deadline deadline);
    bool fill(Deadline deadline);
    void flush(Deadline deadline);
    void flush_in_turn(Deadline deadline);
    void flush_if_idle() noexcept;
    void encrypt(std::span<const std::byte> bytes);
    int decrypt(std::span<std::byte> buffer, std::size_t& total);
    [[noreturn]] void fail(int ssl_error);

    std::unique_ptr<Transport> transport_;
    SslPtr ssl_;
    std::mutex sending_;    // whoever gives bytes to the transport
    std::mutex ssl_mutex_;  // ssl_, written_
    Bytes written_;         // records that OpenSSL has made
    Bytes leaving_;         // those that are being sent; under sending_
    Bytes arrived_;         // from the transport; only the receiver's
    std::size_t arrived_begin_ = 0, arrived_end_ = 0;
    std::uint64_t key_update_bytes_ = kKeyUpdateBytes;
    std::uint64_t under_this_key_ = 0;
    std::atomic<std::uint64_t> sent_{0}, received_{0};
};

}  // namespace dupengine::wire
