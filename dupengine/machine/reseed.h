#pragma once
// Makes the kernel's random state another one than the source's, whose it is in a restored memory: until then
// both draw the same keys, sequence numbers and identifiers. What two machines cannot have in common is mixed
// in, and the kernel is made to draw from it at once (random(4): RNDADDENTROPY, RNDRESEEDCRNG).
//
// Generators that processes keep for themselves (OpenSSL's, a JVM's) are not reached by that: those of
// inherited processes go on as the source's, until they seed themselves anew or are started anew.

#include <functional>
#include <span>
#include <string>
#include <vector>

#include "base/bytes.h"

namespace dupengine::machine {

/// Where unique bytes come from; a test puts others in their place.
struct RandomDevices {
    std::string kernel = "/dev/random";
    std::string hardware = "/dev/hwrng";
    /// Fills it from the processor's generator (RDSEED, else RDRAND). False if there is none, or it is
    /// broken.
    std::function<bool(std::span<std::byte>)> processor;
    RandomDevices();
};

/// What went in, by name: "secret", "processor", "hardware".
struct Reseeded {
    std::vector<std::string> sources;
};

struct Seed {
    Bytes bytes;
    std::vector<std::string>
        sources;  ///< those that no other machine has; what time and jitter give is in it besides
};
/// `secret`: what only this node knows, or empty. It is not in the seed itself, but keyed with the time
/// (HMAC).
Seed gather_seed(std::span<const std::byte> secret, const RandomDevices& devices = {});

/// Throws kRefused, with nothing changed, if there is nothing that only this machine has; kUnsupported if the
/// kernel does not take it.
Reseeded reseed_kernel(std::span<const std::byte> secret, const RandomDevices& devices = {});

}  // namespace dupengine::machine
