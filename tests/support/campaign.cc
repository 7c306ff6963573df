#include "tests/support/campaign.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cstdlib>

namespace dupengine::test {

Seeds campaign_seeds(std::uint64_t usual) {
    if (const char* one = std::getenv("DUPENGINE_SEED")) {
        const std::uint64_t seed = std::stoull(one);
        return {seed, seed + 1};
    }
    const char* wanted = std::getenv("DUPENGINE_SEEDS");
    return {1, 1 + (wanted != nullptr ? std::stoull(wanted) : usual)};
}

bool is_long_campaign() {
    const char* wanted = std::getenv("DUPENGINE_SEEDS");
    return wanted != nullptr && std::stoull(wanted) >= 100;
}

std::string how_to_repeat(std::uint64_t seed) {
    const auto* const info = testing::UnitTest::GetInstance()->current_test_info();
    return fmt::format("seed {}; repeat: DUPENGINE_SEED={} campaign_tests --gtest_filter={}.{}", seed, seed,
                       info->test_suite_name(), info->name());
}

}  // namespace dupengine::test
