#include "codec/keyed_digest.h"

#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/params.h>

#include "base/error.h"

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

}  // namespace

struct KeyedDigest::State {
    std::unique_ptr<EVP_MAC, Free<EVP_MAC_free>> mac;
    std::unique_ptr<EVP_MAC_CTX, Free<EVP_MAC_CTX_free>> context;
    // Tags are compared with each other, so they are all made with the same.
    std::array<unsigned char, 12> nonce{};
};

KeyedDigest::KeyedDigest(const Key& key) : state_(std::make_unique<State>()) {
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
