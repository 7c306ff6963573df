#pragma once
// Filesystems that have seen some use: mounted by the real drivers on loop devices, changed at random from a
// seed, unmounted or cut off in the middle. Needs root.

#include <gtest/gtest.h>

#include <cstdint>
#include <string>

#include "base/random.h"
#include "layout/used_extents.h"
#include "tests/support/scratch.h"

namespace dupengine::test {

/// The seeds that a test of an aged filesystem goes through: 1 to 20, or to what DUPENGINE_SEEDS says
/// (tools/campaign). A failing one is repeated with --gtest_filter, whose last number is the seed less one.
testing::internal::ParamGenerator<std::uint64_t> aged_seeds();

class Mount {
  public:
    /// mount -t TYPE -o OPTIONS; makes the folder.
    Mount(const std::string& device, const std::string& folder, const std::string& type = "ext4",
          const std::string& options = {});
    ~Mount();
    Mount(const Mount&) = delete;
    Mount& operator=(const Mount&) = delete;

  private:
    std::string folder_;
};

/// Many small changes, drawn from a seed: files in four folders written, grown, punched, truncated, deleted.
/// Some files are flushed: those must survive a cut.
class Churn {
  public:
    Churn(const std::string& folder, std::uint64_t seed) : folder_(folder), random_(seed) {}

    void run(unsigned steps) {
        for (unsigned step = 0; step < steps; ++step)
            change();
    }

  private:
    void change();

    std::string folder_;
    SeededRandom random_;
};

/// Mounts both read-only and compares every file and link. `options`: of mount.
void expect_same_mounted(const ScratchFolder& scratch, const std::string& image, const std::string& copy,
                         const std::string& type, const std::string& options);

}  // namespace dupengine::test
