#pragma once
// Certificates (X.509, RFC 5280) as enrolment makes and reads them: keys on P-256, because that is what TPMs
// and smart cards hold, too; one authority that signs every machine's certificate itself; a list of what it
// has revoked, numbered, so that the newer of two is known. Pure but for randomness. For wire/ and its tests.
// Threads: as OpenSSL's objects, one at a time.

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/random.h"
#include "base/secret.h"
#include "wire/credentials.h"
#include "wire/openssl.h"

namespace dupengine::wire {

/// Seconds since 1970-01-01 00:00 UTC, both ends included.
struct Validity {
    std::int64_t begin = 0, end = 0;
};

/// One line in a list of what was revoked.
struct Revoked {
    std::string serial;  ///< hexadecimal digits
    std::int64_t when = 0;
};

/// "web1.example": letters, digits, '.', '-', '_', the first a letter or a digit; 1 to 64 characters.
bool is_peer_name(std::string_view name);
/// Throws kUsage.
void check_peer_name(const std::string& name);

KeyPtr make_key();
CertificatePtr make_authority(EVP_PKEY& key, const std::string& name, Validity validity,
                              RandomSource& random);

struct CertificateOrder {
    std::string name;
    Validity validity;
    std::string extended_usage = "serverAuth,clientAuth";  ///< as openssl-x509v3_config(5) has it
};
/// A certificate for the public half of `key`.
CertificatePtr issue_certificate(const CertificateOrder& order, EVP_PKEY& key, EVP_PKEY& authority_key,
                                 X509& authority, RandomSource& random);

/// What a machine that wants a certificate shows: its public key, signed with the secret one (PKCS #10).
std::string make_request(EVP_PKEY& key, const std::string& name);
/// The key in it. Throws kPeer unless it is a P-256 key and signed with its secret half.
KeyPtr key_of_request(const std::string& pem);

/// Throws kAuthenticity unless the certificate has a name as ours have.
PeerIdentity identity_of(const X509& certificate);
Validity validity_of(const X509& certificate);
/// "2026-11-22 09:00:00 UTC"
std::string time_text(std::int64_t seconds);

RevocationListPtr make_revocation_list(const std::vector<Revoked>& revoked, std::uint64_t number,
                                       std::int64_t now, EVP_PKEY& authority_key, X509& authority);
std::uint64_t number_of(const X509_CRL& list);
std::vector<Revoked> revoked_in(X509_CRL& list);
bool is_revoked(X509_CRL& list, const X509& certificate);

std::string to_pem(const X509& certificate);
std::string to_pem(const X509_CRL& list);
/// PKCS #8, without a passphrase: what protects it is the mode of its file.
Secret secret_to_pem(const EVP_PKEY& key);
/// The first of its kind in the text. Throw kAuthenticity naming `from`.
CertificatePtr certificate_from_pem(std::string_view text, const std::string& from);
KeyPtr key_from_pem(std::string_view text, const std::string& from);
/// Throws unless `authority` has signed it.
RevocationListPtr revocation_list_from_pem(std::string_view text, X509& authority, const std::string& from);

}  // namespace dupengine::wire
