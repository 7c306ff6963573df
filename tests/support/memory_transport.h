#pragma once
// Two ends of a connection in memory: what TCP does, with the bad days of TCP on request. Bounded: who sends
// more than the other side reads waits. Both ends may be used from different threads, as transport.h says.

#include <cstdint>
#include <limits>
#include <memory>
#include <utility>

#include "wire/transport.h"

namespace dupengine::test {

struct MemoryTransportOptions {
    std::size_t capacity = 256 * 1024;  ///< bytes that may be under way in each direction
    std::size_t piece = std::numeric_limits<std::size_t>::max();  ///< at most that many in one receive()
    /// The connection breaks when an end has sent that many bytes: those arrive, nothing after them does, and
    /// both ends find it broken.
    std::uint64_t first_cut = std::numeric_limits<std::uint64_t>::max();
    std::uint64_t second_cut = std::numeric_limits<std::uint64_t>::max();
};

using TransportPair = std::pair<std::unique_ptr<wire::Transport>, std::unique_ptr<wire::Transport>>;

TransportPair memory_transports(const MemoryTransportOptions& options = {});

/// What an end has sent so far. `end` is one that memory_transports made.
std::uint64_t bytes_sent(const wire::Transport& end);

}  // namespace dupengine::test
