#pragma once
// AES-XTS over sectors with the sector's number as tweak ("aes-xts-plain64" of dm-crypt; IEEE 1619), by
// OpenSSL. The key is overwritten with the object. Decrypting may run in parallel.

#include <memory>
#include <span>

#include "base/secret.h"

namespace dupengine::codec {

class SectorCipher {
  public:
    /// `key` is of 32 or 64 bytes (AES-128, AES-256); throws kUnsupported for another.
    explicit SectorCipher(Secret key);
    ~SectorCipher();
    SectorCipher(const SectorCipher&) = delete;
    SectorCipher& operator=(const SectorCipher&) = delete;

    /// Decrypts one sector, in place. `number` counts sectors of 512 bytes, whatever the sector's size is.
    void decrypt(std::uint64_t number, std::span<std::byte> sector) const;

  private:
    struct State;
    std::unique_ptr<State> state_;
    Secret key_;
};

}  // namespace dupengine::codec
