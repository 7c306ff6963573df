#include "codec/keyed_digest.h"

#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/params.h>

#include <optional>

#include "base/error.h"
#include "codec/wide_ghash.h"

namespace dupengine::codec {
namespace {

template <auto Function>
struct Free {
    template <typename T>
    void operator()(T* object) const {
        Function(object);
    }
};

const unsigned char* data_of(std::span<const std::byte> bytes) {
    return reinterpret_cast<const unsigned char*>(bytes.data());
}

[[noreturn]] void fail() {
    throw_error(Code::kInternal, "GMAC is not to be had from this OpenSSL");
}

// One block of AES-128.
WideGhash::Block encrypt(const KeyedDigest::Key& key, const WideGhash::Block& block) {
    const std::unique_ptr<EVP_CIPHER_CTX, Free<EVP_CIPHER_CTX_free>> context(EVP_CIPHER_CTX_new());
    WideGhash::Block encrypted{};
    int size = 0;
    if (!context ||
        EVP_EncryptInit_ex(context.get(), EVP_aes_128_ecb(), nullptr, data_of(key), nullptr) != 1 ||
        EVP_EncryptUpdate(context.get(), reinterpret_cast<unsigned char*>(encrypted.data()), &size,
                          data_of(block), static_cast<int>(block.size())) != 1 ||
        size != static_cast<int>(encrypted.size()))
        throw_error(Code::kInternal, "AES-128 is not to be had from this OpenSSL");
    return encrypted;
}

}  // namespace

struct KeyedDigest::State {
    std::unique_ptr<EVP_MAC, Free<EVP_MAC_free>> mac;
    std::unique_ptr<EVP_MAC_CTX, Free<EVP_MAC_CTX_free>> context;
    // Tags are compared with each other, so they are all made with the same.
    std::array<unsigned char, 12> nonce{};
    // Instead of the two above.
    std::optional<WideGhash> wide;
    WideGhash::Block mask{};  // the first counter block (SP 800-38D, 7.1), encrypted
};

KeyedDigest::KeyedDigest(const Key& key, Way way) : state_(std::make_unique<State>()) {
    if (way == Way::kFastest && WideGhash::is_to_be_had()) {
        WideGhash::Block first_counter{};
        first_counter.back() = std::byte{1};
        state_->mask = encrypt(key, first_counter);
        state_->wide.emplace(encrypt(key, {}));
        return;
    }
    state_->mac.reset(EVP_MAC_fetch(nullptr, "GMAC", nullptr));
    if (!state_->mac) fail();
    state_->context.reset(EVP_MAC_CTX_new(state_->mac.get()));
    char cipher[] = "AES-128-GCM";
    const std::array<OSSL_PARAM, 3> parameters = {
        OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_CIPHER, cipher, 0),
        OSSL_PARAM_construct_octet_string(OSSL_MAC_PARAM_IV, state_->nonce.data(), state_->nonce.size()),
        OSSL_PARAM_construct_end()};
    if (!state_->context ||
        EVP_MAC_init(state_->context.get(), data_of(key), key.size(), parameters.data()) != 1)
        fail();
}

KeyedDigest::~KeyedDigest() = default;

KeyedDigest::Tag KeyedDigest::of(std::span<const std::byte> bytes) {
    if (state_->wide) {
        Tag tag = state_->wide->of(bytes);
        for (std::size_t i = 0; i < tag.size(); ++i)
            tag[i] ^= state_->mask[i];
        return tag;
    }
    EVP_MAC_CTX* const context = state_->context.get();
    const std::array<OSSL_PARAM, 2> parameters = {
        OSSL_PARAM_construct_octet_string(OSSL_MAC_PARAM_IV, state_->nonce.data(), state_->nonce.size()),
        OSSL_PARAM_construct_end()};
    Tag tag{};
    std::size_t size = 0;
    if (EVP_MAC_init(context, nullptr, 0, parameters.data()) != 1 ||
        EVP_MAC_update(context, data_of(bytes), bytes.size()) != 1 ||
        EVP_MAC_final(context, reinterpret_cast<unsigned char*>(tag.data()), &size, tag.size()) != 1 ||
        size != tag.size())
        fail();
    return tag;
}

}  // namespace dupengine::codec
