#pragma once
// Where random bytes come from. Passed in, so that the same seed gives the same bytes in a test.

#include <cstdint>
#include <span>

#include "base/guid.h"

namespace dupengine {

class RandomSource {
  public:
    virtual ~RandomSource() = default;
    virtual void fill(std::span<std::byte> bytes) = 0;
    Guid guid();
};

/// The kernel's generator: getrandom(2).
class SystemRandom final : public RandomSource {
  public:
    void fill(std::span<std::byte> bytes) override;
};

/// splitmix64: for tests and campaigns only, never for identities of real machines.
class SeededRandom final : public RandomSource {
  public:
    explicit SeededRandom(std::uint64_t seed) : state_(seed) {}
    void fill(std::span<std::byte> bytes) override;
    std::uint64_t next();
    /// Uniform enough for tests: [0, bound).
    std::uint64_t below(std::uint64_t bound) { return bound == 0 ? 0 : next() % bound; }

  private:
    std::uint64_t state_;
};

}  // namespace dupengine
