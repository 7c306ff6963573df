#pragma once
// What wire/ needs of OpenSSL everywhere: its objects as resources, its errors as text. For wire/ alone.
// Objects as OpenSSL's: one thread at a time.

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include <memory>
#include <string>
#include <string_view>

#include "base/error.h"

namespace dupengine::wire {

template <auto Free>
struct FreeWith {
    template <typename T>
    void operator()(T* object) const {
        Free(object);
    }
};
using KeyPtr = std::unique_ptr<EVP_PKEY, FreeWith<EVP_PKEY_free>>;
using CertificatePtr = std::unique_ptr<X509, FreeWith<X509_free>>;
using CertificateRequestPtr = std::unique_ptr<X509_REQ, FreeWith<X509_REQ_free>>;
using RevocationListPtr = std::unique_ptr<X509_CRL, FreeWith<X509_CRL_free>>;
using BioPtr = std::unique_ptr<BIO, FreeWith<BIO_free>>;
using ContextPtr = std::unique_ptr<SSL_CTX, FreeWith<SSL_CTX_free>>;
using SslPtr = std::unique_ptr<SSL, FreeWith<SSL_free>>;

/// "reason" of the oldest error of this thread, and forgets them all; "no reason given" if there is none.
std::string openssl_reason();

/// For calls that fail only where memory or the library does: throws kInternal with `what` unless `good`.
inline void must(bool good, const char* what) {
    if (!good) throw_error(Code::kInternal, "OpenSSL: {}: {}", what, openssl_reason());
}

}  // namespace dupengine::wire
