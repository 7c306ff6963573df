#include "codec/sector_cipher.h"

#include <openssl/evp.h>

#include <array>

namespace dupengine::codec {
namespace {

using Context = std::unique_ptr<EVP_CIPHER_CTX, decltype(&EVP_CIPHER_CTX_free)>;

Context new_context() {
    Context context(EVP_CIPHER_CTX_new(), &EVP_CIPHER_CTX_free);
    if (context == nullptr) throw std::bad_alloc();
    return context;
}

}  // namespace

// The key's schedule is made once; a sector works on a copy of it, so that others may at the same time.
struct SectorCipher::State {
    Context keyed = new_context();
};

SectorCipher::SectorCipher(Secret key) : state_(std::make_unique<State>()), key_(std::move(key)) {
    const EVP_CIPHER* const cipher = key_.size() == 32   ? EVP_aes_128_xts()
                                     : key_.size() == 64 ? EVP_aes_256_xts()
                                                         : nullptr;
    if (cipher == nullptr) throw_error(Code::kUnsupported, "AES-XTS has no keys of {} bytes", key_.size());
    const auto* const bytes = reinterpret_cast<const unsigned char*>(key_.all().data());
    // OpenSSL refuses a key of two equal halves, as the standard wants it.
    if (EVP_DecryptInit_ex(state_->keyed.get(), cipher, nullptr, bytes, nullptr) != 1)
        throw_error(Code::kUnsupported, "OpenSSL does not take this key for AES-XTS");
}

SectorCipher::~SectorCipher() = default;

void SectorCipher::decrypt(std::uint64_t number, std::span<std::byte> sector) const {
    std::array<std::byte, 16> tweak{};
    store_le<std::uint64_t>(tweak, 0, number);
    const Context context = new_context();
    auto* const bytes = reinterpret_cast<unsigned char*>(sector.data());
    const auto* const initial = reinterpret_cast<const unsigned char*>(tweak.data());
    int done = 0;
    const bool good =
        EVP_CIPHER_CTX_copy(context.get(), state_->keyed.get()) == 1 &&
        EVP_DecryptInit_ex(context.get(), nullptr, nullptr, nullptr, initial) == 1 &&
        EVP_DecryptUpdate(context.get(), bytes, &done, bytes, static_cast<int>(sector.size())) == 1;
    if (!good || static_cast<std::size_t>(done) != sector.size())
        throw_error(Code::kInternal, "OpenSSL does not decrypt a sector of {} bytes", sector.size());
}

}  // namespace dupengine::codec
