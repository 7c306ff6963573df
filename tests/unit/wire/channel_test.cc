// The channel between two enrolled machines, over connections in memory: who is let in, and what a peer that
// does not keep to the rules costs.

#include "wire/channel.h"

#include <gmock/gmock.h>

#include <future>
#include <thread>

#include "tests/support/memory_transport.h"
#include "tests/support/test_pki.h"

namespace dupengine::wire {
namespace {

using namespace std::chrono_literals;
using test::memory_transports;
using test::TestPki;
using ::testing::AllOf;
using ::testing::HasSubstr;

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

Both shake_hands(const Credentials& connects, const Credentials& accepts, test::TransportPair ends,
                 const ChannelOptions& options = {}) {
    auto accepted = std::async(std::launch::async, [&] {
        return outcome_of([&] { return accept_channel(std::move(ends.second), accepts, {}); });
    });
    Both both;
    both.connected = outcome_of([&] { return connect_channel(std::move(ends.first), connects, options); });
    both.accepted = accepted.get();
    return both;
}

Both shake_hands(const Credentials& connects, const Credentials& accepts) {
    return shake_hands(connects, accepts, memory_transports());
}

Bytes some_bytes(std::size_t size, std::uint64_t seed) {
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
        EXPECT_THAT(accepting_side_judges ? both.accepted.message : both.connected.message, HasSubstr(why));
        EXPECT_THAT(accepting_side_judges ? both.connected.message : both.accepted.message,
                    HasSubstr("does not take our certificate"));
    }

    TestPki pki_;
    std::unique_ptr<Credentials> a_ = pki_.credentials("a"), b_ = pki_.credentials("b");
};

TEST_F(ChannelTest, TwoEnrolledMachinesKnowEachOther) {
    const Both both = shake_hands(*a_, *b_);
    ASSERT_NE(both.connected.channel, nullptr) << both.connected.message;
    ASSERT_NE(both.accepted.channel, nullptr) << both.accepted.message;
    EXPECT_EQ(both.connected.channel->peer(), b_->identity());
    EXPECT_EQ(both.accepted.channel->peer(), a_->identity());
    EXPECT_EQ(both.accepted.channel->peer().name, "a");
    EXPECT_THAT(both.connected.channel->cipher(), ::testing::StartsWith("TLS_"));
}

TEST_F(ChannelTest, EveryByteArrivesInBothDirectionsAtOnceAcrossManyKeys) {
    const std::size_t size = 3 * kMiB + 17;
    auto both = shake_hands(*a_, *b_, memory_transports(), {.key_update_bytes = 200'000});
    ASSERT_NE(both.connected.channel, nullptr) << both.connected.message;
    ASSERT_NE(both.accepted.channel, nullptr) << both.accepted.message;
    const auto pass = [&](Channel& channel, std::uint64_t seed) {
        return std::jthread([&channel, seed] {
            const Bytes bytes = some_bytes(size, seed);
            channel.send(bytes, after(20s));
        });
    };
    const auto compare = [&](Channel& channel, std::uint64_t seed) {
        Bytes got(size);
        receive_exact(channel, got, after(20s));
        EXPECT_TRUE(got == some_bytes(size, seed));
    };
    const auto there = pass(*both.connected.channel, 1), back = pass(*both.accepted.channel, 2);
    std::jthread other([&] { compare(*both.accepted.channel, 1); });
    compare(*both.connected.channel, 2);
    other.join();
    EXPECT_GT(both.connected.channel->bytes_sent(), size);
    EXPECT_LT(both.connected.channel->bytes_sent(), size + size / 100 + 10'000);
    EXPECT_EQ(both.connected.channel->bytes_sent(), both.accepted.channel->bytes_received());
}
}  // namespace
}  // namespace dupengine::wire
