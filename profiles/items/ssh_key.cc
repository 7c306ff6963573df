#include "profiles/items/ssh_key.h"

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/obj_mac.h>

#include <array>
#include <memory>

#include "codec/digest.h"

namespace dupengine::profiles {
namespace {

struct Deleter {
    void operator()(EVP_PKEY* key) const { ::EVP_PKEY_free(key); }
    void operator()(BIGNUM* number) const { ::BN_clear_free(number); }
    void operator()(EC_GROUP* group) const { ::EC_GROUP_free(group); }
    void operator()(EC_POINT* point) const { ::EC_POINT_clear_free(point); }
};
template <typename T>
using Owned = std::unique_ptr<T, Deleter>;

template <typename T>
Owned<T> owned(T* pointer) {
    if (pointer == nullptr) throw_error(Code::kInternal, "an SSH host key cannot be made: OpenSSL failed");
    return Owned<T>(pointer);
}

void must(int result) {
    if (result != 1) throw_error(Code::kInternal, "an SSH host key cannot be made: OpenSSL failed");
}

std::string uint32(std::size_t value) {
    std::string bytes(4, '\0');
    for (int i = 0; i < 4; ++i)
        bytes[i] = static_cast<char>(value >> (24 - 8 * i) & 255);
    return bytes;
}

// RFC 4251, 5: a string, and a positive multiple precision integer (a zero byte keeps the sign bit clear).
std::string field(std::string_view bytes) {
    return uint32(bytes.size()) + std::string(bytes);
}

std::string integer_bytes(const BIGNUM* number) {
    std::string bytes(static_cast<std::size_t>(BN_num_bytes(number)), '\0');
    ::BN_bn2bin(number, reinterpret_cast<unsigned char*>(bytes.data()));
    if (!bytes.empty() && (static_cast<unsigned char>(bytes.front()) & 0x80) != 0) bytes.insert(0, 1, '\0');
    return bytes;
}

std::string integer(const BIGNUM* number) {
    return field(integer_bytes(number));
}

std::string base64(std::string_view bytes) {
    std::string text(4 * ((bytes.size() + 2) / 3) + 1, '\0');
    const int length = ::EVP_EncodeBlock(reinterpret_cast<unsigned char*>(text.data()),
                                         reinterpret_cast<const unsigned char*>(bytes.data()),
                                         static_cast<int>(bytes.size()));
    text.resize(static_cast<std::size_t>(length));
    return text;
}

struct Parts {
    std::string name;         // "ssh-ed25519"
    std::string public_blob;  // as it goes over the wire
    std::string secret_part;  // what follows the name in the private section
};

// PROTOCOL.key; `check` is any number that both halves of the private section repeat.
SshKey encode(const Parts& parts, std::string_view check, const std::string& comment) {
    std::string secret_section =
        std::string(check) + std::string(check) + field(parts.name) + parts.secret_part + field(comment);
    for (char pad = 1; secret_section.size() % 8 != 0; ++pad)
        secret_section += pad;
    const std::string file = std::string("openssh-key-v1\0", 15) + field("none") + field("none") + field("") +
                             uint32(1) + field(parts.public_blob) + field(secret_section);
    const std::string text = base64(file);
    SshKey key;
    key.private_file = "-----BEGIN OPENSSH PRIVATE KEY-----\n";
    for (std::size_t at = 0; at < text.size(); at += 70)
        key.private_file += text.substr(at, 70) + "\n";
    key.private_file += "-----END OPENSSH PRIVATE KEY-----\n";
    key.public_file = parts.name + " " + base64(parts.public_blob) + " " + comment + "\n";
    return key;
}

Parts ed25519_parts(std::span<const std::byte> seed) {
    const auto* bytes = reinterpret_cast<const unsigned char*>(seed.data());
    const auto key = owned(::EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, nullptr, bytes, 32));
    std::string public_key(32, '\0');
    std::size_t length = public_key.size();
    must(::EVP_PKEY_get_raw_public_key(key.get(), reinterpret_cast<unsigned char*>(public_key.data()),
                                       &length));
    Parts parts{"ssh-ed25519", {}, {}};
    parts.public_blob = field(parts.name) + field(public_key);
    parts.secret_part = field(public_key) + field(std::string(as_text(seed.first(32))) + public_key);
    return parts;
}

Parts ecdsa_parts(std::span<const std::byte> seed) {
    const auto group = owned(::EC_GROUP_new_by_curve_name(NID_X9_62_prime256v1));
    // FIPS 186-5, A.2.1: 128 bits more than the order, modulo (order - 1), plus 1: no value is likelier than
    // another.
    const auto wide = owned(::BN_bin2bn(reinterpret_cast<const unsigned char*>(seed.data()), 48, nullptr));
    const auto limit = owned(::BN_dup(::EC_GROUP_get0_order(group.get())));
    const auto scalar = owned(::BN_new());
    const std::unique_ptr<BN_CTX, void (*)(BN_CTX*)> scratch(::BN_CTX_secure_new(), ::BN_CTX_free);
    must(::BN_sub_word(limit.get(), 1));
    must(BN_mod(scalar.get(), wide.get(), limit.get(), scratch.get()));
    must(::BN_add_word(scalar.get(), 1));
    const auto point = owned(::EC_POINT_new(group.get()));
    must(::EC_POINT_mul(group.get(), point.get(), scalar.get(), nullptr, nullptr, scratch.get()));
    std::string public_point(65, '\0');
    if (::EC_POINT_point2oct(group.get(), point.get(), POINT_CONVERSION_UNCOMPRESSED,
                             reinterpret_cast<unsigned char*>(public_point.data()), 65, scratch.get()) != 65)
        must(0);
    Parts parts{"ecdsa-sha2-nistp256", {}, {}};
    const std::string curve_and_point = field("nistp256") + field(public_point);
    parts.public_blob = field(parts.name) + curve_and_point;
    parts.secret_part = curve_and_point + integer(scalar.get());
    return parts;
}

Owned<BIGNUM> number_of(const EVP_PKEY* key, const char* name) {
    BIGNUM* number = nullptr;
    must(::EVP_PKEY_get_bn_param(key, name, &number));
    return owned(number);
}

}  // namespace

std::size_t ssh_seed_bytes(const std::string& type) {
    return type == "ecdsa" ? 48 : 32;
}

SshKey ssh_key_of_seed(const std::string& type, std::span<const std::byte> seed, const std::string& comment) {
    if (seed.size() < ssh_seed_bytes(type))
        throw_error(Code::kInternal, "a seed of {} bytes for an {} key", seed.size(), type);
    const codec::Sha256 digest = codec::sha256(seed);
    const std::string check(as_text(std::span(digest).first(4)));
    return encode(type == "ecdsa" ? ecdsa_parts(seed) : ed25519_parts(seed), check, comment);
}

SshKey fresh_rsa_key(RandomSource& random, const std::string& comment) {
    const auto key = owned(::EVP_PKEY_Q_keygen(nullptr, nullptr, "RSA", std::size_t{3072}));
    const auto n = number_of(key.get(), OSSL_PKEY_PARAM_RSA_N),
               e = number_of(key.get(), OSSL_PKEY_PARAM_RSA_E);
    const auto d = number_of(key.get(), OSSL_PKEY_PARAM_RSA_D),
               p = number_of(key.get(), OSSL_PKEY_PARAM_RSA_FACTOR1);
    const auto q = number_of(key.get(), OSSL_PKEY_PARAM_RSA_FACTOR2);
    const auto inverse = number_of(key.get(), OSSL_PKEY_PARAM_RSA_COEFFICIENT1);
    Parts parts{"ssh-rsa", {}, {}};
    parts.public_blob = field(parts.name) + integer(e.get()) + integer(n.get());
    parts.secret_part = integer(n.get()) + integer(e.get()) + integer(d.get()) + integer(inverse.get()) +
                        integer(p.get()) + integer(q.get());
    std::array<std::byte, 4> check{};
    random.fill(check);
    return encode(parts, as_text(check), comment);
}

std::string ssh_fingerprint(const std::string& public_line) {
    const std::size_t begin = public_line.find(' ');
    if (begin == std::string::npos) return {};
    const std::string text =
        public_line.substr(begin + 1, public_line.find_first_of(" \n", begin + 1) - begin - 1);
    if (text.empty() || text.size() % 4 != 0) return {};
    Bytes blob(text.size() / 4 * 3);
    const int length =
        ::EVP_DecodeBlock(reinterpret_cast<unsigned char*>(blob.data()),
                          reinterpret_cast<const unsigned char*>(text.data()), static_cast<int>(text.size()));
    if (length < 0) return {};
    const std::size_t padding = text.ends_with("==") ? 2 : text.ends_with("=") ? 1 : 0;
    blob.resize(static_cast<std::size_t>(length) - padding);
    std::string fingerprint = base64(as_text(codec::sha256(blob)));
    while (fingerprint.back() == '=')
        fingerprint.pop_back();
    return "SHA256:" + fingerprint;
}

}  // namespace dupengine::profiles
