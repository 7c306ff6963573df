#pragma once
// AES-XTS over sectors with the sector's number as tweak ("aes-xts-plain64" of dm-crypt; IEEE 1619), by
// OpenSSL. The key is overwritten with the object. Any number of threads may use one at the same time.

#include <memory>
#include <span>

#include "base/secret.h"

namespace dupengine::codec {

class SectorCipher {
  public:
    /// `key` is of 32 or 64 bytes (AES-128, AES-256), and encrypts sectors of `sector_bytes`; throws
    /// kUnsupported for another.
    SectorCipher(Secret key, std::uint32_t sector_bytes);
    ~SectorCipher();
    SectorCipher(const SectorCipher&) = delete;
    SectorCipher& operator=(const SectorCipher&) = delete;

    /// One sector after another, in place; `sectors` are whole ones. `number` is the first one's, and counts
    /// sectors of 512 bytes, whatever the sector's size is.
    void decrypt(std::uint64_t number, std::span<std::byte> sectors) const;
    void encrypt(std::uint64_t number, std::span<std::byte> sectors) const;

  private:
    struct State;
    std::unique_ptr<State> state_;
    Secret key_;
    std::uint32_t sector_bytes_;
};

}  // namespace dupengine::codec
