#pragma once
// The handshake of an enrolment: TLS with the token as pre-shared key and nothing else. For wire/ alone.
// Threads: an object is one connection's.

#include <memory>

#include "wire/tls_stream.h"
#include "wire/token.h"

namespace dupengine::wire {

inline constexpr const char* kEnrolProtocol = "dupengine-enrol/1";

class EnrolmentStream {
  public:
    /// `key` outlives it.
    EnrolmentStream(std::unique_ptr<Transport> transport, const PresharedKey& key, TlsRole role);
    /// Throws kAuthenticity unless both sides know the key, kPeer.
    void handshake(Deadline deadline);
    TlsStream& stream() { return *stream_; }
    /// Whether the other side named our key, known to it or not. Naming any other is what strangers can do.
    bool used_the_token() const { return asked_->was_used; }

  private:
    // What OpenSSL's callbacks are given.
    struct Asked {
        const PresharedKey* key;
        bool was_used = false;
    };
    static int find_key(SSL* ssl, const unsigned char* identity, std::size_t size, SSL_SESSION** session);
    static int use_key(SSL* ssl, const EVP_MD* digest, const unsigned char** identity, std::size_t* size,
                       SSL_SESSION** session);

    std::unique_ptr<Asked> asked_;
    ContextPtr context_;
    std::unique_ptr<TlsStream> stream_;
};

}  // namespace dupengine::wire
