#include "codec/digest.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>
#if defined(__x86_64__) || defined(__i386__)
#include <xxh_x86dispatch.h>  // the widest vectors that the processor has
#else
#include <xxhash.h>
#endif

#include <algorithm>

#include "base/aligned_buffer.h"

namespace dupengine::codec {

struct Sha256Stream::State {
    EVP_MD_CTX* context = EVP_MD_CTX_new();
    ~State() { EVP_MD_CTX_free(context); }
};

Sha256Stream::Sha256Stream() : state_(std::make_unique<State>()) {
    if (EVP_DigestInit_ex(state_->context, EVP_sha256(), nullptr) != 1)
        throw_error(Code::kInternal, "OpenSSL offers no SHA-256");
}

Sha256Stream::~Sha256Stream() = default;

void Sha256Stream::update(std::span<const std::byte> bytes) {
    if (EVP_DigestUpdate(state_->context, bytes.data(), bytes.size()) != 1)
        throw_error(Code::kInternal, "SHA-256 update failed");
}

Sha256 Sha256Stream::finish() {
    Sha256 digest;
    unsigned size = 0;
    if (EVP_DigestFinal_ex(state_->context, reinterpret_cast<unsigned char*>(digest.data()), &size) != 1 ||
        size != 32)
        throw_error(Code::kInternal, "SHA-256 end failed");
    return digest;
}

Sha256 sha256(std::span<const std::byte> bytes) {
    Sha256Stream stream;
    stream.update(bytes);
    return stream.finish();
}

Sha256 hmac_sha256(std::span<const std::byte> key, std::span<const std::byte> message) {
    Sha256 digest;
    unsigned size = 0;
    const auto* done = HMAC(EVP_sha256(), key.data(), static_cast<int>(key.size()),
                            reinterpret_cast<const unsigned char*>(message.data()), message.size(),
                            reinterpret_cast<unsigned char*>(digest.data()), &size);
    if (done == nullptr || size != digest.size()) throw_error(Code::kInternal, "HMAC-SHA-256 failed");
    return digest;
}

Sha256 sha256_of(const block::Reader& reader, block::Extent extent,
                 const std::function<void(std::uint64_t)>& on_bytes) {
    Sha256Stream stream;
    AlignedBuffer buffer(std::min<std::uint64_t>(std::max<std::uint64_t>(extent.size(), 1), kMiB));
    for (ByteOffset at = extent.begin; at < extent.end;) {
        const auto part = buffer.first(std::min<std::uint64_t>(buffer.size(), extent.end - at));
        reader.read_from_medium(at, part);
        stream.update(part);
        at += part.size();
        if (on_bytes) on_bytes(part.size());
    }
    return stream.finish();
}

Xxh128 xxh128(std::span<const std::byte> bytes) {
    const XXH128_hash_t hash = XXH3_128bits(bytes.data(), bytes.size());
    return {hash.low64, hash.high64};
}

std::uint64_t xxh64(std::span<const std::byte> bytes) {
    return XXH64(bytes.data(), bytes.size(), 0);
}

}  // namespace dupengine::codec
