#pragma once
// The one-time token that lets a machine enrol: 256 random bits, as text that a person can type, and what
// both sides derive from it. The side that invites keeps only what is derived. Pure but for draw_token.
//
// Text: Crockford's base 32 (no I, L, O, U; read as 1, 1, 0 and an error), the 32 bytes and the first three
// of SHA-256("dupengine enrolment token 1" || the 32 bytes), 14 groups of four with hyphens between them.
// Case, hyphens and spaces do not matter when it is read.

#include <string>
#include <string_view>

#include "base/random.h"
#include "base/secret.h"

namespace dupengine::wire {

inline constexpr std::size_t kTokenBytes = 32;

Secret draw_token(RandomSource& random);

/// "7ZQ4-...": 69 characters. The caller shows it once.
std::string token_text(const Secret& token);

/// Throws kUsage, and never names the token: not the right length, a character that is in no token, or a
/// checksum that does not hold (mistyped).
Secret parse_token(std::string_view text);

/// What TLS is given (RFC 8446 4.2.11, RFC 9257): the identity crosses the network in the clear and says
/// nothing of the token; the key never crosses it. Both are HMAC-SHA-256 of the token with a label each.
struct PresharedKey {
    explicit PresharedKey(const Secret& token);
    Bytes identity;  ///< 16 bytes
    Secret key;      ///< 32 bytes
};

}  // namespace dupengine::wire
