#pragma once
// What DHCP clients wrote down for the source: leases, and the numbers (DUID) by which servers know a client.
// Left in place, a client of the duplicate asks for the source's address first, and is given it. Leases that
// a DHCP *server* gave out are data of its users, and stay. One thread at a time.

#include <string>
#include <vector>

namespace dupengine::machine {

/// Removes them below `root` ("/" for the running system), and returns their paths as seen from there. No
/// link leads out of `root`, and only regular files go. Throws kTargetIo when all were tried, if one could
/// not be removed.
std::vector<std::string> drop_leases(const std::string& root);

}  // namespace dupengine::machine
