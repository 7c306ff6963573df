#pragma once
// The network namespaces of this machine: containers have their own links, addresses and connections. Found
// are those of processes and their threads, and those that a mount keeps (`ip netns`, container engines); one
// that nothing but an open descriptor or a socket keeps is not found.

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/fd.h"

namespace dupengine::machine {

struct NetworkNamespace {
    std::string name;  ///< where it was found; empty for that of this thread
    std::uint64_t number = 0;
    Fd fd;
};
using NamespacePointer = std::shared_ptr<const NetworkNamespace>;

/// Each once, that of the calling thread first. Throws kUnsupported if /proc cannot be read.
std::vector<NamespacePointer> find_network_namespaces();

/// While it lives the calling thread, and no other, is in that namespace: sockets that it makes, and
/// /proc/sys/net, are of it.
class InsideNamespace {
  public:
    /// Throws kUnsupported.
    explicit InsideNamespace(const NetworkNamespace& where);
    /// Goes back. Ends the process if that cannot be: nothing would be where it is thought to be.
    ~InsideNamespace();
    InsideNamespace(const InsideNamespace&) = delete;
    InsideNamespace& operator=(const InsideNamespace&) = delete;

  private:
    Fd before_;
};

}  // namespace dupengine::machine
