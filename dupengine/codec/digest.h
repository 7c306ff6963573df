#pragma once
// Digests. SHA-256 (OpenSSL) for whatever rests or is shown to a person; keyed_digest.h to compare with
// another machine; XXH3-128 for comparisons inside one run. Pure; an object is used by one thread at a time.

#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>

#include "base/bytes.h"
#include "block/device.h"

namespace dupengine::codec {

using Sha256 = std::array<std::byte, 32>;

class Sha256Stream {
  public:
    Sha256Stream();
    ~Sha256Stream();
    Sha256Stream(const Sha256Stream&) = delete;
    Sha256Stream& operator=(const Sha256Stream&) = delete;
    void update(std::span<const std::byte> bytes);
    Sha256 finish();

  private:
    struct State;
    std::unique_ptr<State> state_;
};

Sha256 sha256(std::span<const std::byte> bytes);
/// HMAC-SHA-256 (RFC 2104, FIPS 198-1).
Sha256 hmac_sha256(std::span<const std::byte> key, std::span<const std::byte> message);
/// SHA-256 over a range of a device, read from the medium.
/// `on_bytes` is told after each piece how long it was; it may throw to stop.
Sha256 sha256_of(const block::Reader& reader, block::Extent extent,
                 const std::function<void(std::uint64_t)>& on_bytes = {});

struct Xxh128 {
    std::uint64_t low = 0, high = 0;
    bool operator==(const Xxh128&) const = default;
};
Xxh128 xxh128(std::span<const std::byte> bytes);
/// XXH64 with seed 0, as btrfs uses it.
std::uint64_t xxh64(std::span<const std::byte> bytes);

}  // namespace dupengine::codec
