#pragma once
// How a disk at another machine is named: "dup://HOST[:PORT][/NAME]". Pure.

#include <optional>
#include <string>
#include <string_view>

#include "wire/tcp.h"

namespace dupengine::wire {

struct PeerReference {
    Address address;
    std::string name;  ///< of what is offered there; empty: the only one
    bool operator==(const PeerReference& other) const {
        return address.text() == other.address.text() && name == other.name;
    }
};

/// Empty unless `text` begins with "dup://". Throws kUsage for a host, a port or a name that cannot be one.
std::optional<PeerReference> parse_peer_reference(std::string_view text);

}  // namespace dupengine::wire
