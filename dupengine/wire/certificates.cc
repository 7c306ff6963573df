#include "wire/certificates.h"

#include <openssl/pem.h>

#include <algorithm>
#include <ctime>
#include <limits>

namespace dupengine::wire {
namespace {

using IntegerPtr = std::unique_ptr<ASN1_INTEGER, FreeWith<ASN1_INTEGER_free>>;
using NumberPtr = std::unique_ptr<BIGNUM, FreeWith<BN_free>>;
using TimePtr = std::unique_ptr<ASN1_TIME, FreeWith<ASN1_TIME_free>>;
using ExtensionPtr = std::unique_ptr<X509_EXTENSION, FreeWith<X509_EXTENSION_free>>;
using RevokedPtr = std::unique_ptr<X509_REVOKED, FreeWith<X509_REVOKED_free>>;

constexpr std::size_t kSerialBytes = 16, kNameLimit = 64;

bool is_alphanumeric(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

void set_name(X509_NAME* name, const std::string& text) {
    must(X509_NAME_add_entry_by_NID(name, NID_commonName, MBSTRING_UTF8,
                                    reinterpret_cast<const unsigned char*>(text.data()),
                                    static_cast<int>(text.size()), -1, 0) == 1,
         "a certificate's name");
}

// Unpredictable, positive, and the same length always (RFC 5280 4.1.2.2 allows 20 bytes).
IntegerPtr draw_serial(RandomSource& random) {
    std::array<std::byte, kSerialBytes> bytes;
    random.fill(bytes);
    bytes[0] = (bytes[0] & std::byte{0x3f}) | std::byte{0x40};
    const NumberPtr number(
        BN_bin2bn(reinterpret_cast<const unsigned char*>(bytes.data()), kSerialBytes, nullptr));
    IntegerPtr serial(BN_to_ASN1_INTEGER(number.get(), nullptr));
    must(serial != nullptr, "a serial number");
    return serial;
}

std::string hex_of(const ASN1_INTEGER* serial) {
    const NumberPtr number(ASN1_INTEGER_to_BN(serial, nullptr));
    must(number != nullptr, "a serial number");
    Bytes bytes(static_cast<std::size_t>(BN_num_bytes(number.get())));
    BN_bn2bin(number.get(), reinterpret_cast<unsigned char*>(bytes.data()));
    return to_hex(bytes);
}

IntegerPtr serial_of(const std::string& hex) {
    BIGNUM* raw = nullptr;
    must(BN_hex2bn(&raw, hex.c_str()) != 0, "a serial number");
    const NumberPtr number(raw);
    IntegerPtr serial(BN_to_ASN1_INTEGER(number.get(), nullptr));
    must(serial != nullptr, "a serial number");
    return serial;
}

std::int64_t seconds_of(const ASN1_TIME* time) {
    std::tm parts{};
    if (time == nullptr || ASN1_TIME_to_tm(time, &parts) != 1) return 0;
    return ::timegm(&parts);
}

void add_extension(X509& certificate, X509& issuer, int nid, const char* value) {
    X509V3_CTX context;
    X509V3_set_ctx(&context, &issuer, &certificate, nullptr, nullptr, 0);
    const ExtensionPtr extension(X509V3_EXT_conf_nid(nullptr, &context, nid, value));
    must(extension != nullptr && X509_add_ext(&certificate, extension.get(), -1) == 1, value);
}

CertificatePtr begin_certificate(const std::string& name, Validity validity, EVP_PKEY& key,
                                 const X509_NAME* issuer, RandomSource& random) {
    CertificatePtr certificate(X509_new());
    must(certificate != nullptr && X509_set_version(certificate.get(), X509_VERSION_3) == 1 &&
             X509_set_serialNumber(certificate.get(), draw_serial(random).get()) == 1 &&
             ASN1_TIME_set(X509_getm_notBefore(certificate.get()), validity.begin) != nullptr &&
             ASN1_TIME_set(X509_getm_notAfter(certificate.get()), validity.end) != nullptr &&
             X509_set_pubkey(certificate.get(), &key) == 1,
         "a certificate");
    set_name(X509_get_subject_name(certificate.get()), name);
    must(X509_set_issuer_name(certificate.get(),
                              issuer == nullptr ? X509_get_subject_name(certificate.get()) : issuer) == 1,
         "a certificate's issuer");
    return certificate;
}

bool is_on_p256(const EVP_PKEY& key) {
    char group[32] = "";
    return EVP_PKEY_get_base_id(&key) == EVP_PKEY_EC &&
           EVP_PKEY_get_group_name(&key, group, sizeof group, nullptr) == 1 &&
           OBJ_sn2nid(group) == NID_X9_62_prime256v1;
}

BioPtr reader_of(std::string_view text) {
    BioPtr bio(BIO_new_mem_buf(text.data(), static_cast<int>(text.size())));
    must(bio != nullptr, "memory to read from");
    return bio;
}

std::string text_of(const BioPtr& bio, bool good, const char* what) {
    must(good, what);
    char* data = nullptr;
    const auto size = BIO_get_mem_data(bio.get(), &data);
    return {data, static_cast<std::size_t>(size)};
}

// No question for a passphrase.
int no_passphrase(char*, int, int, void*) {
    return -1;
}

}  // namespace

bool is_peer_name(std::string_view name) {
    return !name.empty() && name.size() <= kNameLimit && is_alphanumeric(name.front()) &&
           std::ranges::all_of(name,
                               [](char c) { return is_alphanumeric(c) || c == '.' || c == '-' || c == '_'; });
}

void check_peer_name(const std::string& name) {
    if (!is_peer_name(name))
        throw_error(
            Code::kUsage,
            "the name of a machine has 1 to {} letters, digits, '.', '-' and '_', and begins with one "
            "of the first two",
            kNameLimit);
}

KeyPtr make_key() {
    KeyPtr key(EVP_EC_gen("P-256"));
    must(key != nullptr, "a key");
    return key;
}

CertificatePtr make_authority(EVP_PKEY& key, const std::string& name, Validity validity,
                              RandomSource& random) {
    CertificatePtr certificate = begin_certificate(name, validity, key, nullptr, random);
    X509& own = *certificate;
    add_extension(own, own, NID_basic_constraints, "critical,CA:TRUE,pathlen:0");
    add_extension(own, own, NID_key_usage, "critical,keyCertSign,cRLSign");
    add_extension(own, own, NID_subject_key_identifier, "hash");
    must(X509_sign(&own, &key, EVP_sha256()) != 0, "a signature");
    return certificate;
}

CertificatePtr issue_certificate(const CertificateOrder& order, EVP_PKEY& key, EVP_PKEY& authority_key,
                                 X509& authority, RandomSource& random) {
    CertificatePtr certificate =
        begin_certificate(order.name, order.validity, key, X509_get_subject_name(&authority), random);
    add_extension(*certificate, authority, NID_basic_constraints, "critical,CA:FALSE");
    add_extension(*certificate, authority, NID_key_usage, "critical,digitalSignature");
    add_extension(*certificate, authority, NID_ext_key_usage, order.extended_usage.c_str());
    add_extension(*certificate, authority, NID_subject_key_identifier, "hash");
    add_extension(*certificate, authority, NID_authority_key_identifier, "keyid:always");
    must(X509_sign(certificate.get(), &authority_key, EVP_sha256()) != 0, "a signature");
    return certificate;
}

std::string make_request(EVP_PKEY& key, const std::string& name) {
    const CertificateRequestPtr request(X509_REQ_new());
    must(request != nullptr && X509_REQ_set_version(request.get(), X509_REQ_VERSION_1) == 1 &&
             X509_REQ_set_pubkey(request.get(), &key) == 1,
         "a certificate request");
    set_name(X509_REQ_get_subject_name(request.get()), name);
    must(X509_REQ_sign(request.get(), &key, EVP_sha256()) != 0, "a signature");
    const BioPtr bio(BIO_new(BIO_s_mem()));
    return text_of(bio, PEM_write_bio_X509_REQ(bio.get(), request.get()) == 1, "a certificate request");
}

KeyPtr key_of_request(const std::string& pem) {
    const BioPtr bio = reader_of(pem);
    const CertificateRequestPtr request(PEM_read_bio_X509_REQ(bio.get(), nullptr, no_passphrase, nullptr));
    KeyPtr key(request == nullptr ? nullptr : X509_REQ_get_pubkey(request.get()));
    const bool good = key != nullptr && is_on_p256(*key) && X509_REQ_verify(request.get(), key.get()) == 1;
    ERR_clear_error();
    if (!good) throw_error(Code::kPeer, "what was sent is no request for a certificate of a P-256 key");
    return key;
}

PeerIdentity identity_of(const X509& certificate) {
    PeerIdentity identity;
    const X509_NAME* subject = X509_get_subject_name(&certificate);
    const int at = X509_NAME_get_index_by_NID(subject, NID_commonName, -1);
    const ASN1_STRING* name = at < 0 ? nullptr : X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, at));
    if (name != nullptr && ASN1_STRING_type(name) == V_ASN1_UTF8STRING)
        identity.name.assign(reinterpret_cast<const char*>(ASN1_STRING_get0_data(name)),
                             static_cast<std::size_t>(ASN1_STRING_length(name)));
    if (X509_NAME_entry_count(subject) != 1 || !is_peer_name(identity.name))
        throw_error(Code::kAuthenticity, "a certificate without a name as enrolment gives it");
    identity.serial = hex_of(X509_get0_serialNumber(&certificate));
    unsigned char* encoded = nullptr;
    const int size = i2d_X509_PUBKEY(X509_get_X509_PUBKEY(&certificate), &encoded);
    must(size > 0, "a public key");
    identity.key_sha256 = codec::sha256(std::as_bytes(std::span(encoded, static_cast<std::size_t>(size))));
    OPENSSL_free(encoded);
    return identity;
}

Validity validity_of(const X509& certificate) {
    return {seconds_of(X509_get0_notBefore(&certificate)), seconds_of(X509_get0_notAfter(&certificate))};
}

std::string time_text(std::int64_t seconds) {
    const std::time_t time = seconds;
    std::tm parts{};
    char text[64] = "";
    if (::gmtime_r(&time, &parts) == nullptr ||
        std::strftime(text, sizeof text, "%Y-%m-%d %H:%M:%S UTC", &parts) == 0)
        return "an unknown time";
    return text;
}

RevocationListPtr make_revocation_list(const std::vector<Revoked>& revoked, std::uint64_t number,
                                       std::int64_t now, EVP_PKEY& authority_key, X509& authority) {
    RevocationListPtr list(X509_CRL_new());
    const TimePtr time(ASN1_TIME_set(nullptr, now));
    must(list != nullptr && time != nullptr && X509_CRL_set_version(list.get(), X509_CRL_VERSION_2) == 1 &&
             X509_CRL_set_issuer_name(list.get(), X509_get_subject_name(&authority)) == 1 &&
             X509_CRL_set1_lastUpdate(list.get(), time.get()) == 1,
         "a revocation list");
    for (const Revoked& one : revoked) {
        RevokedPtr entry(X509_REVOKED_new());
        const TimePtr when(ASN1_TIME_set(nullptr, one.when));
        must(entry != nullptr && when != nullptr &&
                 X509_REVOKED_set_serialNumber(entry.get(), serial_of(one.serial).get()) == 1 &&
                 X509_REVOKED_set_revocationDate(entry.get(), when.get()) == 1 &&
                 X509_CRL_add0_revoked(list.get(), entry.get()) == 1,
             "a revocation");
        static_cast<void>(entry.release());  // the list's now
    }
    const IntegerPtr counted(ASN1_INTEGER_new());
    X509V3_CTX context;
    X509V3_set_ctx(&context, &authority, nullptr, nullptr, list.get(), 0);
    const ExtensionPtr issuer(
        X509V3_EXT_conf_nid(nullptr, &context, NID_authority_key_identifier, "keyid:always"));
    must(counted != nullptr && ASN1_INTEGER_set_uint64(counted.get(), number) == 1 &&
             X509_CRL_add1_ext_i2d(list.get(), NID_crl_number, counted.get(), 0, 0) == 1 &&
             issuer != nullptr && X509_CRL_add_ext(list.get(), issuer.get(), -1) == 1 &&
             X509_CRL_sort(list.get()) == 1 && X509_CRL_sign(list.get(), &authority_key, EVP_sha256()) != 0,
         "a revocation list");
    return list;
}

std::uint64_t number_of(const X509_CRL& list) {
    const IntegerPtr number(
        static_cast<ASN1_INTEGER*>(X509_CRL_get_ext_d2i(&list, NID_crl_number, nullptr, nullptr)));
    std::uint64_t value = 0;
    if (number == nullptr || ASN1_INTEGER_get_uint64(&value, number.get()) != 1)
        throw_error(Code::kAuthenticity, "a revocation list without a number");
    return value;
}

std::vector<Revoked> revoked_in(X509_CRL& list) {
    std::vector<Revoked> found;
    const auto* const all = X509_CRL_get_REVOKED(&list);
    for (int i = 0; i < sk_X509_REVOKED_num(all); ++i) {
        const X509_REVOKED* one = sk_X509_REVOKED_value(all, i);
        found.push_back(
            {hex_of(X509_REVOKED_get0_serialNumber(one)), seconds_of(X509_REVOKED_get0_revocationDate(one))});
    }
    return found;
}

bool is_revoked(X509_CRL& list, const X509& certificate) {
    X509_REVOKED* entry = nullptr;
    return X509_CRL_get0_by_serial(&list, &entry, X509_get0_serialNumber(&certificate)) != 0;
}

std::string to_pem(const X509& certificate) {
    const BioPtr bio(BIO_new(BIO_s_mem()));
    return text_of(bio, PEM_write_bio_X509(bio.get(), &certificate) == 1, "a certificate");
}

std::string to_pem(const X509_CRL& list) {
    const BioPtr bio(BIO_new(BIO_s_mem()));
    return text_of(bio, PEM_write_bio_X509_CRL(bio.get(), &list) == 1, "a revocation list");
}

Secret secret_to_pem(const EVP_PKEY& key) {
    const BioPtr bio(BIO_new(BIO_s_secmem()));
    must(PEM_write_bio_PKCS8PrivateKey(bio.get(), &key, nullptr, nullptr, 0, nullptr, nullptr) == 1, "a key");
    char* data = nullptr;
    Secret text(static_cast<std::size_t>(BIO_get_mem_data(bio.get(), &data)));
    std::memcpy(text.chars(), data, text.size());
    return text;
}

CertificatePtr certificate_from_pem(std::string_view text, const std::string& from) {
    CertificatePtr found(PEM_read_bio_X509(reader_of(text).get(), nullptr, no_passphrase, nullptr));
    ERR_clear_error();
    if (found == nullptr) throw_error(Code::kAuthenticity, "{}: no certificate is there", from);
    return found;
}

KeyPtr key_from_pem(std::string_view text, const std::string& from) {
    KeyPtr found(PEM_read_bio_PrivateKey(reader_of(text).get(), nullptr, no_passphrase, nullptr));
    ERR_clear_error();
    if (found == nullptr || !is_on_p256(*found))
        throw_error(Code::kAuthenticity, "{}: no secret P-256 key is there", from);
    return found;
}

RevocationListPtr revocation_list_from_pem(std::string_view text, X509& authority, const std::string& from) {
    RevocationListPtr found(PEM_read_bio_X509_CRL(reader_of(text).get(), nullptr, no_passphrase, nullptr));
    const bool good = found != nullptr && X509_CRL_verify(found.get(), X509_get0_pubkey(&authority)) == 1 &&
                      X509_NAME_cmp(X509_CRL_get_issuer(found.get()), X509_get_subject_name(&authority)) == 0;
    ERR_clear_error();
    if (!good) throw_error(Code::kAuthenticity, "{}: no revocation list that our authority has signed", from);
    static_cast<void>(number_of(*found));  // throws without one
    return found;
}

}  // namespace dupengine::wire
