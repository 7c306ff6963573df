// Thousands of connections that say nothing, half of something, or nonsense, to a real process that waits for
// enrolled machines: it stays small, and enrolled machines are served meanwhile.

#include <fcntl.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <deque>
#include <thread>

#include "base/fd.h"
#include "tests/support/campaign.h"
#include "tests/support/gpt_disk.h"
#include "tests/support/memory_transport.h"
#include "tests/support/running.h"
#include "tests/support/test_pki.h"
#include "wire/channel.h"
#include "wire/tcp.h"

namespace dupengine {
namespace {

using namespace std::chrono_literals;
using test::Running;

// The first thing that an enrolled machine says.
Bytes client_hello(const wire::Credentials& credentials) {
    auto [ours, theirs] = test::memory_transports();
    const std::jthread caller([&credentials, end = std::move(ours)]() mutable {
        try {
            wire::connect_channel(std::move(end), credentials);
        } catch (const Error&) {
            // Nobody answers.
        }
    });
    Bytes hello(16 * kKiB);
    hello.resize(theirs->receive(hello, wire::after(10s)));
    theirs->close();
    return hello;
}

class Flood {
  public:
    Flood(const wire::Address& address, Bytes hello, std::size_t connections)
        : address_(address), hello_(std::move(hello)), left_(connections) {
        for (std::uint64_t i = 0; i < 4; ++i)
            threads_.emplace_back([this, i] { connect_all(i + 1); });
    }
    bool is_over() const { return over_ == 4; }
    std::size_t connected() const { return connected_; }

  private:
    void connect_all(std::uint64_t seed) {
        SeededRandom random(seed);
        std::deque<std::unique_ptr<wire::Transport>> held;
        while (left_.fetch_sub(1) > 0) {
            // Some are closed at once, most are there as long as there is patience.
            const std::uint64_t most = random.below(60);
            while (held.size() > most)
                held.pop_front();
            try {
                held.push_back(wire::connect_tcp(address_, wire::after(2s)));
                ++connected_;
                const Bytes words = draw_words(random);
                if (!words.empty()) held.back()->send(words, wire::after(1s));
            } catch (const Error&) {
                // No room in the kernel's queue at the moment, or ended already.
            }
        }
        ++over_;
    }

    Bytes draw_words(SeededRandom& random) const {
        Bytes noise(1000);
        random.fill(noise);
        const auto text = as_bytes("GET / HTTP/1.1\r\nHost: golden\r\n\r\n");
        switch (random.below(6)) {
            case 0:
                return hello_;
            case 1:
                return {hello_.begin(),
                        hello_.begin() + static_cast<std::ptrdiff_t>(random.below(hello_.size()))};
            case 2:  // a record of 16 KiB that never comes
                return {std::byte{0x16}, std::byte{3}, std::byte{1}, std::byte{0x40}, std::byte{0}};
            case 3:
                return {text.begin(), text.end()};
            case 4:
                return noise;
            default:
                return {};
        }
    }

    const wire::Address address_;
    const Bytes hello_;
    std::atomic<std::ptrdiff_t> left_;
    std::atomic<std::size_t> connected_{0}, over_{0};
    std::vector<std::jthread> threads_;
};

// The most of each that a process took while somebody watched.
class Watch {
  public:
    explicit Watch(const Running& running)
        : thread_([this, &running](const std::stop_token& over) {
              while (!over.stop_requested()) {
                  const Running::Usage now = running.usage();
                  most_.most_memory_bytes = std::max(most_.most_memory_bytes, now.most_memory_bytes);
                  most_.descriptors = std::max(most_.descriptors, now.descriptors);
                  most_.threads = std::max(most_.threads, now.threads);
                  std::this_thread::sleep_for(20ms);
              }
          }) {}
    Running::Usage end() {
        thread_ = {};
        return most_;
    }

  private:
    Running::Usage most_;
    std::jthread thread_;
};

class Floods : public testing::Test {
  protected:
    static constexpr std::uint64_t kSize = 16 * kMiB;
    static constexpr block::Extent kData{kMiB, 9 * kMiB};

    std::string disk_file(const std::string& name, const test::DiskBytes& disk) const {
        write_file_atomic(folder_.file(name), disk.content, 0600, Code::kInternal);
        return folder_.file(name);
    }
    void expect_copy(const std::string& target) const {
        const Fd fd = open_path(target, O_RDONLY, Code::kInternal);
        Bytes now(kData.size());
        pread_exact(fd.get(), kData.begin, now, Code::kInternal, target);
        EXPECT_TRUE(std::equal(now.begin(), now.end(), source_->content.begin() + kData.begin));
    }
    void expect_small(const Running::Usage& usage, const Flood& flood, int tries) const {
        std::printf(
            "%zu connections; at most %zu MiB, %zu descriptors, %zu threads; an enrolled machine was "
            "served at try %d\n",
            flood.connected(), usage.most_memory_bytes / kMiB, usage.descriptors, usage.threads, tries);
        EXPECT_GE(flood.connected(), connections_ / 2);
        EXPECT_GT(usage.most_memory_bytes, kMiB) << "nobody watched";
        EXPECT_LT(usage.most_memory_bytes, 128 * kMiB);
        EXPECT_LT(usage.descriptors, 200u);
        EXPECT_LT(usage.threads, 150u);
    }
    // The command may find the kernel's queue full; a person tries again. 0: never.
    template <typename Try>
    int tries_until_done(Try&& run) const {
        for (int i = 1; i <= 5; ++i) {
            const RunResult result = run();
            if (result.status == 0) return i;
            EXPECT_EQ(result.status, 8) << result.err;
        }
        return 0;
    }

    const std::size_t connections_ = test::is_long_campaign() ? 10'000 : 500;
    test::ScratchFolder folder_;
    test::TestPki pki_;
    const std::string source_folder_ = pki_.enrol("source"), target_folder_ = pki_.enrol("target");
    const std::uint16_t port_ = test::free_port();
    const wire::Address address_{"127.0.0.1", port_};
    const std::shared_ptr<test::DiskBytes> source_ = test::make_gpt_disk(kSize, {{1, kData, "root"}}, 1);
    const std::string from_ = disk_file("source.img", *source_);
    const std::string to_ = folder_.sparse_file("target.img", kSize);
};

TEST_F(Floods, WhoServesIsSmallAndServes) {
    Running serving({"serve", "--peers", source_folder_, "--listen", address_.text(), "web=" + from_});
    serving.wait_until_listening(port_);
    Watch watch(serving);
    Flood flood(address_, client_hello(wire::Credentials(target_folder_)), connections_);
    const int tries = tries_until_done([&] {
        return test::run_dupengine(
            {"copy", "--yes", "--peers", target_folder_, "dup://" + address_.text() + "/web", to_});
    });
    EXPECT_NE(tries, 0) << "strangers keep enrolled machines out";
    while (!flood.is_over())
        std::this_thread::sleep_for(20ms);
    expect_small(watch.end(), flood, tries);
    expect_copy(to_);
    // And afterwards at once.
    EXPECT_EQ(tries_until_done([&] {
                  return test::run_dupengine(
                      {"copy", "--yes", "--peers", target_folder_, "dup://" + address_.text() + "/web", to_});
              }),
              1);
    serving.kill();
    serving.end();
}

TEST_F(Floods, WhoReceivesIsSmallAndTakesTheSource) {
    Running receiving({"receive", "--yes", "--peers", target_folder_, "--listen", address_.text(), to_});
    receiving.wait_until_listening(port_);
    Watch watch(receiving);
    const Flood flood(address_, client_hello(wire::Credentials(source_folder_)), connections_);
    // First the flood alone, so that the copy comes into the middle of it.
    for (int i = 0; i < 1500 && flood.connected() < connections_ / 2 && !flood.is_over(); ++i)
        std::this_thread::sleep_for(20ms);
    const int tries = tries_until_done([&] {
        return test::run_dupengine({"copy", "--peers", source_folder_, from_, "dup://" + address_.text()});
    });
    EXPECT_NE(tries, 0) << "strangers keep enrolled machines out";
    const RunResult received = receiving.end();
    EXPECT_EQ(received.status, 0) << received.err;
    const std::size_t lines = static_cast<std::size_t>(std::ranges::count(received.err, '\n'));
    EXPECT_LT(lines, 200u) << "strangers fill the log";
    expect_small(watch.end(), flood, tries);
    expect_copy(to_);
}

}  // namespace
}  // namespace dupengine
