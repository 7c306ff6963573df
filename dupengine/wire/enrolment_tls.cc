#include "wire/enrolment_tls.h"

#include <algorithm>

namespace dupengine::wire {
namespace {

using SessionPtr = std::unique_ptr<SSL_SESSION, FreeWith<SSL_SESSION_free>>;

// RFC 8446 4.2.11: an external key has a hash; ours is SHA-256, as of all suites that we offer.
SessionPtr session_of(SSL* ssl, const PresharedKey& key) {
    constexpr unsigned char kAes128GcmSha256[] = {0x13, 0x01};
    SessionPtr session(SSL_SESSION_new());
    const SSL_CIPHER* cipher = SSL_CIPHER_find(ssl, kAes128GcmSha256);
    const auto* const bytes = reinterpret_cast<const unsigned char*>(key.key.chars());
    if (session == nullptr || cipher == nullptr ||
        SSL_SESSION_set1_master_key(session.get(), bytes, key.key.size()) != 1 ||
        SSL_SESSION_set_cipher(session.get(), cipher) != 1 ||
        SSL_SESSION_set_protocol_version(session.get(), TLS1_3_VERSION) != 1)
        return nullptr;
    return session;
}

}  // namespace

EnrolmentStream::EnrolmentStream(std::unique_ptr<Transport> transport, const PresharedKey& key, TlsRole role)
    : asked_(std::make_unique<Asked>(Asked{&key})), context_(make_tls_context(role, kEnrolProtocol)) {
    SSL_CTX_set_app_data(context_.get(), asked_.get());
    SSL_CTX_set_psk_find_session_callback(context_.get(), find_key);
    SSL_CTX_set_psk_use_session_callback(context_.get(), use_key);
    // Who answers with a certificate instead is not taken: nobody vouches for it. The side that accepts has
    // none to answer with, so its handshake ends without a key.
    if (role == TlsRole::kConnects) SSL_CTX_set_verify(context_.get(), SSL_VERIFY_PEER, nullptr);
    stream_ = std::make_unique<TlsStream>(std::move(transport), *context_, role);
}

int EnrolmentStream::find_key(SSL* ssl, const unsigned char* identity, std::size_t size,
                              SSL_SESSION** session) {
    Asked& asked = *static_cast<Asked*>(SSL_CTX_get_app_data(SSL_get_SSL_CTX(ssl)));
    *session = nullptr;
    const auto theirs = std::as_bytes(std::span(identity, size));
    if (!std::ranges::equal(theirs, asked.key->identity)) return 1;
    asked.was_used = true;
    *session = session_of(ssl, *asked.key).release();
    return *session == nullptr ? 0 : 1;
}

int EnrolmentStream::use_key(SSL* ssl, const EVP_MD* digest, const unsigned char** identity,
                             std::size_t* size, SSL_SESSION** session) {
    const Asked& asked = *static_cast<Asked*>(SSL_CTX_get_app_data(SSL_get_SSL_CTX(ssl)));
    *session = nullptr;
    if (digest != nullptr && EVP_MD_get_type(digest) != NID_sha256) return 1;
    *identity = reinterpret_cast<const unsigned char*>(asked.key->identity.data());
    *size = asked.key->identity.size();
    *session = session_of(ssl, *asked.key).release();
    return *session == nullptr ? 0 : 1;
}

void EnrolmentStream::handshake(Deadline deadline) {
    stream_->handshake(deadline, kEnrolProtocol);
    // OpenSSL says "reused" of every pre-shared key. A handshake without one proves nothing here.
    if (SSL_session_reused(stream_->ssl()) == 1) return;
    stream_->close();
    throw_error(Code::kAuthenticity, "{}: the other side does not know the token", stream_->name());
}

}  // namespace dupengine::wire
