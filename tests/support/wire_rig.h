#pragma once
// A disk that is offered in this process, and connections in memory to it: as many as are wanted, each cut
// where the test says. The threads that answer end with the rig.

#include <atomic>
#include <functional>
#include <map>
#include <mutex>
#include <thread>
#include <vector>

#include "tests/support/memory_transport.h"
#include "wire/link.h"
#include "wire/offer.h"

namespace dupengine::test {

/// Short enough for a test that waits for the end of it, long enough for a busy machine.
wire::Patience short_patience();

class WireRig {
  public:
    explicit WireRig(const block::Reader& source, std::uint64_t seed = 1);
    explicit WireRig(wire::OfferedDisk disk, std::uint64_t seed = 1);
    ~WireRig();
    WireRig(const WireRig&) = delete;
    WireRig& operator=(const WireRig&) = delete;

    /// How the connections from now on behave, one after the other; those behind the last are sound.
    /// The first end is the target's.
    std::vector<MemoryTransportOptions> connections;
    wire::Patience patience = short_patience();
    /// Of a link, at a time.
    unsigned streams = 1;

    /// A new connection, as the target's end sees it. `asker`: the key that it has proved.
    wire::Peer connect(std::byte asker = std::byte{1});
    /// A link with all connections by connect().
    std::unique_ptr<wire::Link> link(bool again = true, std::string source = {});
    /// So many connections were made.
    std::size_t connected();
    /// By the source's end over the connection of that number, from 0; after wait_for_answers().
    std::uint64_t bytes_sent(std::size_t number);
    /// What the answers so far came to, one line each: "done", "lost: ...", or the error.
    std::vector<std::string> outcomes();
    /// Until nobody answers any more.
    void wait_for_answers();

    wire::Offer& offer() { return offer_; }
    RandomSource& random() { return random_; }
    std::stop_source stop;

  private:
    SeededRandom random_;
    wire::Offer offer_;
    std::mutex mutex_;
    std::size_t next_ = 0;
    std::vector<std::string> outcomes_;
    std::map<std::size_t, std::uint64_t> sent_;
    std::vector<std::jthread> answering_;
};

}  // namespace dupengine::test
