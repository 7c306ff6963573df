#include "cli/interrupt.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <chrono>

#include "tests/support/becomes.h"

namespace dupengine::cli {
namespace {

using namespace std::chrono_literals;

TEST(InterruptWatch, ASignalIsARequestToStop) {
    const InterruptWatch watch;
    EXPECT_FALSE(watch.token().stop_requested());
    ::kill(::getpid(), SIGTERM);
    EXPECT_TRUE(test::becomes([&] { return watch.token().stop_requested(); }));
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
    EXPECT_LT(std::chrono::steady_clock::now() - start, 8s);
}

}  // namespace
}  // namespace dupengine::cli
