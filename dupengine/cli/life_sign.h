#pragma once
// The word of a duplicate that it lives, to the machine that it is of. It comes over a connection of its own:
// what belonged to the duplication was in memory that is a copy now. What proves it is a secret that the
// source draws and that is in that memory: only who became it can know it.
//
//     target -> HMAC-SHA-256(secret, text) in hexadecimal, a line feed, the text, end of the connection

#include <chrono>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <stop_token>
#include <string>

#include "base/bytes.h"
#include "base/random.h"
#include "codec/digest.h"
#include "wire/tcp.h"

namespace dupengine::cli {

/// Where it is to go, as the duplicate has it in its memory.
struct LifeSignPlace {
    wire::Address address;
    codec::Sha256 secret{};
};

/// What is longer is taken for a stranger's.
inline constexpr std::size_t kMostLifeSignText = 64 * kKiB - 2 * sizeof(codec::Sha256) - 1;

/// The report of a duplicate as such a text. Of one that is too long the ends of its longest lists are left
/// out, and it says so.
std::string life_sign_text(nlohmann::ordered_json report);

class LifeSignListener {
  public:
    /// At the address by which this machine reaches `target`, on a port of the kernel's choice.
    LifeSignListener(const wire::Address& target, RandomSource& random);
    const LifeSignPlace& place() const { return place_; }
    /// The text that came; nothing if none came in time.
    std::optional<std::string> wait(std::chrono::milliseconds patience, const std::stop_token& stop);

  private:
    std::optional<wire::Listener> listener_;
    LifeSignPlace place_;
};

/// Tries until it could be said, or the time is over. False then, or if the text is too long.
bool send_life_sign(const LifeSignPlace& place, const std::string& text, std::chrono::milliseconds patience);

}  // namespace dupengine::cli
