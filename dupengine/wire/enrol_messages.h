#pragma once
// What is said while a machine enrols (dupengine-formats(5)): JSON, one object a message. The texts come from
// the network, though from somebody who has the token: they are bounded, and anything unexpected throws
// kPeer. Pure functions; safe from any thread.

#include <string>
#include <string_view>

#include "wire/authority.h"

namespace dupengine::wire {

inline constexpr std::size_t kJoinMessageLimit = 16 * kKiB;
inline constexpr std::size_t kWelcomeMessageLimit = 8 * kMiB;

/// The machine that joins: what it wants to be called, and the request for a certificate of its key.
struct JoinMessage {
    std::string name;  ///< asked for; empty: whatever the invitation says
    std::string host;  ///< its host name, if nobody said anything
    std::string request;
};
std::string text_of(const JoinMessage& message);
JoinMessage parse_join_message(std::string_view text);

/// The answer: a certificate, or why there is none.
struct WelcomeMessage {
    Welcome welcome;
    std::string error;  ///< empty: there is a welcome
};
std::string text_of(const WelcomeMessage& message);
WelcomeMessage parse_welcome_message(std::string_view text);

}  // namespace dupengine::wire
