#include "cli/interrupt.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <chrono>

namespace dupengine::cli {
namespace {

using namespace std::chrono_literals;

TEST(InterruptWatch, ASignalIsARequestToStop) {
    const InterruptWatch watch;
    EXPECT_FALSE(watch.token().stop_requested());
    ::kill(::getpid(), SIGTERM);
    const auto late = std::chrono::steady_clock::now() + 10s;
    while (!watch.token().stop_requested() && std::chrono::steady_clock::now() < late)
        ::usleep(1000);
    EXPECT_TRUE(watch.token().stop_requested());
}

TEST(InterruptWatch, NobodyWaitsForItsEnd) {
    const auto start = std::chrono::steady_clock::now();
    for (int i = 0; i < 50; ++i) {
        std::stop_token token;
        {
            const InterruptWatch watch;
            token = watch.token();
        }
        EXPECT_FALSE(token.stop_requested()) << "its end is no request";
    }
    EXPECT_LT(std::chrono::steady_clock::now() - start, 1s);
}

}  // namespace
}  // namespace dupengine::cli
