#pragma once
// Addresses of links as text and as the kernel has them. Pure.

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "base/bytes.h"

namespace dupengine::machine {

struct InternetAddress {
    std::uint8_t family = 0;  ///< AF_INET, AF_INET6
    Bytes bytes;              ///< 4 or 16, as on the wire
    bool operator==(const InternetAddress&) const = default;
};
struct AddressWithPrefix {
    InternetAddress address;
    unsigned prefix_bits = 0;
    bool contains(const InternetAddress& other) const;
    /// The last of its network, to which broadcasts of IPv4 go; empty where there are none.
    Bytes broadcast() const;
};

/// Of one machine: not unspecified, not multicast. Throws kUsage.
InternetAddress parse_internet_address(const std::string& text);
/// "10.0.0.5/24". Throws kUsage.
AddressWithPrefix parse_address_with_prefix(const std::string& text);
/// "52:54:00:12:34:56", of one machine. Throws kUsage.
Bytes parse_mac(const std::string& text);

}  // namespace dupengine::machine
