// Hostile signatures as firmware sees them. An input is the bytes of a signature, a key and a text, taken as
// they are: whom firmware believes, OpenSSL believes, too. Then the text as a file's signature and as a
// profile: never a crash, and never one that is vouched for, because the owner of the key signed none of
// them.

#include <openssl/evp.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>

#include "base/bytes.h"
#include "efi/core/signature.h"

namespace dupengine::fuzz {
namespace {

bool is_signed_for_openssl(const efi::PublicKey& key, efi::Bytes text, efi::Bytes signature) {
    EVP_PKEY* pair = EVP_PKEY_new_raw_public_key(
        EVP_PKEY_ED25519, nullptr, reinterpret_cast<const unsigned char*>(key.data()), key.size());
    EVP_MD_CTX* context = EVP_MD_CTX_new();
    const bool good =
        pair != nullptr && EVP_DigestVerifyInit(context, nullptr, nullptr, nullptr, pair) == 1 &&
        EVP_DigestVerify(context, reinterpret_cast<const unsigned char*>(signature.data()), signature.size(),
                         reinterpret_cast<const unsigned char*>(text.data()), text.size()) == 1;
    EVP_MD_CTX_free(context);
    EVP_PKEY_free(pair);
    return good;
}

void run(efi::Bytes input) {
    efi::PublicKey key;
    const efi::Bytes signature = input.first(efi::kSignatureBytes);
    std::memcpy(key.data(), input.subspan(efi::kSignatureBytes).data(), key.size());
    const efi::Bytes text = input.subspan(efi::kSignatureBytes + key.size());
    if (efi::is_signed_by(key, text, signature) && !is_signed_for_openssl(key, text, signature)) std::abort();
    // A key of RFC 8032, whose owner signed nothing that begins as a signature of ours does.
    const Bytes owner = from_hex("d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a");
    std::ranges::copy(owner, key.begin());
    const efi::Trust trust{{&key, 1}, true};
    if (efi::check_file(trust, owner, efi::as_text(text)) == efi::Vouched::kYes ||
        efi::check_profile(trust, efi::as_text(text)) == efi::Vouched::kYes)
        std::abort();
}

}  // namespace
}  // namespace dupengine::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    using namespace dupengine;
    if (size >= efi::kSignatureBytes + sizeof(efi::PublicKey))
        fuzz::run(std::as_bytes(std::span(data, size)));
    return 0;
}
