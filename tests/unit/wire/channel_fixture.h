#pragma once
// Two enrolled machines and handshakes between them, over connections in memory.

#include <gmock/gmock.h>

#include <future>

#include "tests/support/memory_transport.h"
#include "tests/support/test_pki.h"
#include "wire/channel.h"

namespace dupengine::wire {

// What became of a handshake on one side.
struct Outcome {
    std::unique_ptr<Channel> channel;
    Code code = Code::kInternal;
    std::string message;
};

template <typename Open>
Outcome outcome_of(Open open) {
    try {
        return {open(), Code::kInternal, ""};
    } catch (const Error& e) {
        return {nullptr, e.code(), e.what()};
    }
}

struct Both {
    Outcome connected, accepted;
};

inline Both shake_hands(const Credentials& connects, const Credentials& accepts, test::TransportPair ends,
                        const ChannelOptions& options = {}) {
    auto accepted = std::async(std::launch::async, [&] {
        return outcome_of([&] { return accept_channel(std::move(ends.second), accepts, {}); });
    });
    Both both;
    both.connected = outcome_of([&] { return connect_channel(std::move(ends.first), connects, options); });
    both.accepted = accepted.get();
    return both;
}

inline Both shake_hands(const Credentials& connects, const Credentials& accepts) {
    return shake_hands(connects, accepts, test::memory_transports());
}

inline Bytes some_bytes(std::size_t size, std::uint64_t seed) {
    Bytes bytes(size);
    SeededRandom(seed).fill(bytes);
    return bytes;
}

class ChannelTest : public ::testing::Test {
  protected:
    // Both sides fail for a reason of trust; the side that judges says `why`.
    void expect_not_taken(const Both& both, const std::string& why, bool accepting_side_judges = true) {
        EXPECT_EQ(both.connected.channel, nullptr);
        EXPECT_EQ(both.accepted.channel, nullptr);
        EXPECT_EQ(both.connected.code, Code::kAuthenticity) << both.connected.message;
        EXPECT_EQ(both.accepted.code, Code::kAuthenticity) << both.accepted.message;
        EXPECT_THAT(accepting_side_judges ? both.accepted.message : both.connected.message,
                    ::testing::HasSubstr(why));
        EXPECT_THAT(accepting_side_judges ? both.connected.message : both.accepted.message,
                    ::testing::HasSubstr("does not take our certificate"));
    }

    test::TestPki pki_;
    std::unique_ptr<Credentials> a_ = pki_.credentials("a"), b_ = pki_.credentials("b");
};

}  // namespace dupengine::wire
