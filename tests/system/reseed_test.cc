// The kernel takes what only this machine has, and draws from it.

#include "machine/reseed.h"

#include <gmock/gmock.h>
#include <unistd.h>

#include "base/bytes.h"

namespace dupengine {
namespace {

TEST(Reseed, TheKernelTakesIt) {
    const std::string secret = "what only this node knows";
    EXPECT_THAT(machine::reseed_kernel(as_bytes(secret)).sources, testing::Contains("secret"));
}

#if defined(__x86_64__)
TEST(Reseed, ThisProcessorsGeneratorIsFound) {
    EXPECT_THAT(machine::gather_seed({}).sources, testing::Contains("processor"));
}
#endif

}  // namespace
}  // namespace dupengine
