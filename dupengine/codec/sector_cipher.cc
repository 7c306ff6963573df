#include "codec/sector_cipher.h"

#include <openssl/evp.h>

#include <array>

namespace dupengine::codec {
namespace {

constexpr std::uint64_t kCountedSector = 512;

using Context = std::unique_ptr<EVP_CIPHER_CTX, decltype(&EVP_CIPHER_CTX_free)>;

Context new_context() {
    Context context(EVP_CIPHER_CTX_new(), &EVP_CIPHER_CTX_free);
    if (context == nullptr) throw std::bad_alloc();
    return context;
}

// The schedule of the key, which takes longer than a sector, was made when the cipher was. Each call works on
// a copy of it, so that others may at the same time.
void run(const EVP_CIPHER_CTX* keyed, std::uint32_t sector_bytes, std::uint64_t number,
         std::span<std::byte> sectors) {
    if (sectors.size() % sector_bytes != 0)
        throw_error(Code::kInternal, "{} bytes are not whole sectors of {}", sectors.size(), sector_bytes);
    const Context context = new_context();
    bool good = EVP_CIPHER_CTX_copy(context.get(), keyed) == 1;
    std::array<std::byte, 16> tweak{};
    const auto* const initial = reinterpret_cast<const unsigned char*>(tweak.data());
    for (; good && !sectors.empty(); sectors = sectors.subspan(sector_bytes)) {
        store_le<std::uint64_t>(tweak, 0, number);
        auto* const bytes = reinterpret_cast<unsigned char*>(sectors.data());
        int done = 0;
        good = EVP_CipherInit_ex(context.get(), nullptr, nullptr, nullptr, initial, -1) == 1 &&
               EVP_CipherUpdate(context.get(), bytes, &done, bytes, static_cast<int>(sector_bytes)) == 1 &&
               static_cast<std::uint32_t>(done) == sector_bytes;
        number += sector_bytes / kCountedSector;
    }
    if (!good) throw_error(Code::kInternal, "OpenSSL fails with a sector of {} bytes", sector_bytes);
}

}  // namespace

struct SectorCipher::State {
    Context decrypting = new_context(), encrypting = new_context();
};

SectorCipher::SectorCipher(Secret key, std::uint32_t sector_bytes)
    : state_(std::make_unique<State>()), key_(std::move(key)), sector_bytes_(sector_bytes) {
    const EVP_CIPHER* const cipher = key_.size() == 32   ? EVP_aes_128_xts()
                                     : key_.size() == 64 ? EVP_aes_256_xts()
                                                         : nullptr;
    if (cipher == nullptr) throw_error(Code::kUnsupported, "AES-XTS has no keys of {} bytes", key_.size());
    const auto* const bytes = reinterpret_cast<const unsigned char*>(key_.all().data());
    // OpenSSL refuses a key of two equal halves, as the standard wants it.
    if (EVP_DecryptInit_ex(state_->decrypting.get(), cipher, nullptr, bytes, nullptr) != 1 ||
        EVP_EncryptInit_ex(state_->encrypting.get(), cipher, nullptr, bytes, nullptr) != 1)
        throw_error(Code::kUnsupported, "OpenSSL does not take this key for AES-XTS");
}

SectorCipher::~SectorCipher() = default;

void SectorCipher::decrypt(std::uint64_t number, std::span<std::byte> sectors) const {
    run(state_->decrypting.get(), sector_bytes_, number, sectors);
}

void SectorCipher::encrypt(std::uint64_t number, std::span<std::byte> sectors) const {
    run(state_->encrypting.get(), sector_bytes_, number, sectors);
}

}  // namespace dupengine::codec
