// Who is let in, and what those cost who are not: over TCP on 127.0.0.1, where all have one address.

#include "wire/reception.h"

#include <gmock/gmock.h>

#include <filesystem>
#include <fstream>
#include <future>
#include <thread>

#include "tests/support/becomes.h"
#include "tests/support/test_pki.h"
#include "wire/callers.h"
#include "wire/connection.h"

namespace dupengine::wire {
namespace {

using namespace std::chrono_literals;
using ::testing::HasSubstr;

std::size_t threads_now() {
    std::size_t count = 0;
    for ([[maybe_unused]] const auto& task : std::filesystem::directory_iterator("/proc/self/task"))
        ++count;
    return count;
}

std::size_t mappings_now() {
    std::ifstream maps("/proc/self/maps");
    std::size_t count = 0;
    for (std::string line; std::getline(maps, line);)
        ++count;
    return count;
}

bool is_cut_off(Transport& transport) {
    std::byte one{};
    try {
        return transport.receive({&one, 1}, after(1s)) == 0;
    } catch (const Error& e) {
        return std::string(e.what()).find("silent") == std::string::npos;
    }
}

// An offer without a disk: whoever is taken stays until it goes, or until the test ends.
class ReceptionTest : public ::testing::Test {
  protected:
    void start(const GuestLimits& limits = {}) {
        ReceptionOptions options;
        options.peers_folder = pki_.enrol("server");
        options.limits = limits;
        options.farewell = 100ms;
        options.take = [this](std::unique_ptr<Channel> channel) {
            ++taken_;
            std::byte one{};
            static_cast<void>(channel->receive({&one, 1}, after(60s)));
            --taken_;
        };
        reception_ = std::make_unique<Reception>(std::move(options));
        thread_ = std::jthread([this](const std::stop_token& stop) { reception_->run(listener_, stop); });
    }
    std::unique_ptr<Transport> call() const { return connect_tcp(listener_.address(), after(10s)); }
    std::unique_ptr<Channel> call_as(const Credentials& who) const { return connect_channel(call(), who); }
    void wait_for_taken(int wanted) const {
        ASSERT_TRUE(test::becomes([&] { return taken_ == wanted; })) << taken_;
    }

    test::TestPki pki_;
    std::unique_ptr<Credentials> reader_ = pki_.credentials("reader");
    Listener listener_{{"127.0.0.1", 0}};
    std::atomic<int> taken_{0};
    std::unique_ptr<Reception> reception_;
    std::jthread thread_;
};

TEST_F(ReceptionTest, SilentStrangersDoNotKeepAnEnrolledMachineWaiting) {
    start();
    std::vector<std::unique_ptr<Transport>> strangers;
    for (int i = 0; i < 100; ++i)
        strangers.push_back(call());
    const auto begin = std::chrono::steady_clock::now();
    const auto channel = call_as(*reader_);
    EXPECT_LT(std::chrono::steady_clock::now() - begin, 4s) << "it waited until strangers had had their time";
    wait_for_taken(1);
}

TEST_F(ReceptionTest, WhoHasSaidNothingGoesBeforeWhoHas) {
    start({.strangers_of_an_address = 2});
    const auto speaks = call();
    speaks->send(as_bytes("\x16\x03\x01"), after(5s));
    std::this_thread::sleep_for(200ms);
    const auto silent = call();
    std::this_thread::sleep_for(200ms);
    const auto third = call();
    EXPECT_TRUE(is_cut_off(*silent));
    EXPECT_FALSE(is_cut_off(*speaks));
    EXPECT_FALSE(is_cut_off(*third));
}

TEST_F(ReceptionTest, TenThousandStrangersLeaveNothingBesideAReader) {
    start();
    const auto channel = call_as(*reader_);
    wait_for_taken(1);
    const std::size_t threads = threads_now(), mappings = mappings_now();
    for (int i = 0; i < 10'000; ++i) {
        const auto stranger = call();
        if (i % 50 != 0) continue;
        stranger->send(as_bytes("GET / HTTP/1.0\r\n\r\n"), after(5s));
        EXPECT_TRUE(is_cut_off(*stranger));  // all before it have been taken then
    }
    EXPECT_TRUE(test::becomes([&] { return threads_now() <= threads; })) << threads_now();
    // Threads that ended are joined by the next connection; what is left is the memory of the last few.
    EXPECT_LT(mappings_now(), mappings + 500);
    EXPECT_EQ(taken_, 1) << "the reader was pushed out";
    const auto second = call_as(*reader_);
    wait_for_taken(2);
}

TEST_F(ReceptionTest, OneMachineCannotTakeAllPlaces) {
    start({.known_of_one = 3});
    std::vector<std::unique_ptr<Channel>> greedy;
    for (int i = 0; i < 6; ++i)
        greedy.push_back(call_as(*reader_));
    wait_for_taken(3);
    const auto other = call_as(*pki_.credentials("other"));
    wait_for_taken(4);
}

// What becomes of a sender that calls.
std::string greeting_of(std::unique_ptr<Channel> channel, Code& code) {
    Connection connection({std::move(channel), {}, "there"}, {.farewell = 500ms});
    try {
        return connection.greet(Role::kAnswers, "1").version;
    } catch (const Error& e) {
        code = e.code();
        return e.what();
    }
}

TEST(Callers, ASecondMachineHearsWithWhomWeAreBusy) {
    test::TestPki pki;
    const auto first = pki.credentials("first"), second = pki.credentials("second");
    Listener listener({"127.0.0.1", 0});
    Callers callers(listener, pki.enrol("target"), {}, {});
    const auto call_as = [&](const Credentials& who) {
        return connect_channel(connect_tcp(listener.address(), after(10s)), who);
    };
    const auto one = call_as(*first);
    const auto served = callers.next(after(10s), {});
    EXPECT_EQ(served->peer().name, "first");
    Code code = Code::kInternal;
    const auto begin = std::chrono::steady_clock::now();
    EXPECT_THAT(greeting_of(call_as(*second), code), HasSubstr("busy with first"));
    EXPECT_EQ(code, Code::kRefused);
    EXPECT_LT(std::chrono::steady_clock::now() - begin, 30s);
    // The machine that is served calls again when its connection broke.
    const auto again = call_as(*first);
    EXPECT_EQ(callers.next(after(10s), {})->peer().name, "first");
    callers.release();
    const auto next = call_as(*second);
    EXPECT_EQ(callers.next(after(10s), {})->peer().name, "second");
    EXPECT_THROW(callers.next(after(50ms), {}), Error);
}

}  // namespace
}  // namespace dupengine::wire
