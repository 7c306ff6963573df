#ifdef __aarch64__
#include <asm/hwcap.h>
#include <sys/auxv.h>
#endif

#include "wire/tls_stream.h"

namespace dupengine::wire {
namespace {

constexpr const char* kAesFirst = "TLS_AES_128_GCM_SHA256:TLS_CHACHA20_POLY1305_SHA256";
constexpr const char* kChachaFirst = "TLS_CHACHA20_POLY1305_SHA256:TLS_AES_128_GCM_SHA256";
// A chain is a certificate of about 600 bytes; OpenSSL would take 100 KiB.
constexpr long kCertificatesLimit = 16'384;

bool has_aes_instructions() {
#if defined(__x86_64__) || defined(__i386__)
    return __builtin_cpu_supports("aes") != 0 && __builtin_cpu_supports("pclmul") != 0;
#elif defined(__aarch64__)
    return (::getauxval(AT_HWCAP) & HWCAP_AES) != 0;
#else
    return false;
#endif
}

// The length-prefixed form of RFC 7301.
std::string protocol_list(std::string_view alpn) {
    return static_cast<char>(alpn.size()) + std::string(alpn);
}

// `known` is what make_tls_context was given. A side that offers only what we do not speak is refused here;
// one that offers nothing is, after the handshake.
int choose_protocol(SSL*, const unsigned char** chosen, unsigned char* chosen_size,
                    const unsigned char* offered, unsigned int offered_size, void* known) {
    const std::string_view ours = static_cast<const char*>(known);
    const std::string_view all(reinterpret_cast<const char*>(offered), offered_size);
    for (std::size_t at = 0; at < all.size();) {
        const std::size_t size = static_cast<unsigned char>(all[at]);
        if (all.substr(at + 1, size) == ours) {
            *chosen = offered + at + 1;
            *chosen_size = static_cast<unsigned char>(size);
            return SSL_TLSEXT_ERR_OK;
        }
        at += 1 + size;
    }
    return SSL_TLSEXT_ERR_ALERT_FATAL;
}

}  // namespace

ContextPtr make_tls_context(TlsRole role, const char* alpn) {
    ContextPtr context(SSL_CTX_new(role == TlsRole::kConnects ? TLS_client_method() : TLS_server_method()));
    must(context != nullptr, "a TLS context");
    SSL_CTX* const raw = context.get();
    SSL_CTX_set_options(raw, SSL_OP_NO_TICKET | SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION);
    SSL_CTX_clear_options(raw, SSL_OP_ENABLE_MIDDLEBOX_COMPAT);
    SSL_CTX_set_session_cache_mode(raw, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_max_cert_list(raw, kCertificatesLimit);
    must(SSL_CTX_set_min_proto_version(raw, TLS1_3_VERSION) == 1 &&
             SSL_CTX_set_max_proto_version(raw, TLS1_3_VERSION) == 1 &&
             SSL_CTX_set_num_tickets(raw, 0) == 1 && SSL_CTX_set_max_early_data(raw, 0) == 1 &&
             SSL_CTX_set_recv_max_early_data(raw, 0) == 1 &&
             SSL_CTX_set_ciphersuites(raw, has_aes_instructions() ? kAesFirst : kChachaFirst) == 1 &&
             SSL_CTX_set1_groups_list(raw, "X25519:P-256") == 1 &&
             SSL_CTX_set1_sigalgs_list(raw, "ECDSA+SHA256") == 1,
         "TLS settings");
    const std::string offered = protocol_list(alpn);
    if (role == TlsRole::kConnects)
        must(SSL_CTX_set_alpn_protos(raw, reinterpret_cast<const unsigned char*>(offered.data()),
                                     static_cast<unsigned int>(offered.size())) == 0,
             "ALPN");
    else
        SSL_CTX_set_alpn_select_cb(raw, choose_protocol, const_cast<char*>(alpn));
    return context;
}

}  // namespace dupengine::wire
