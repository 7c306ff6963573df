#pragma once
// How far a campaign goes, and how one case of it is repeated. DUPENGINE_SEEDS: so many seeds (tools/campaign
// says 300); DUPENGINE_SEED: that one alone.

#include <cstdint>
#include <string>

namespace dupengine::test {

struct Seeds {
    std::uint64_t first = 1, end = 1;  ///< [first, end)
};
/// `usual` of them where nobody says how many.
Seeds campaign_seeds(std::uint64_t usual);

/// Whether it is the long run.
bool is_long_campaign();

/// "seed 7; repeat: DUPENGINE_SEED=7 campaign_tests --gtest_filter=Cuts.Pull"
std::string how_to_repeat(std::uint64_t seed);

}  // namespace dupengine::test
