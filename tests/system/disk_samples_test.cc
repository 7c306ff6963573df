// A duplicate writes to no disk but the one that was received.

#include <fcntl.h>
#include <gmock/gmock.h>

#include <optional>

#include "base/error.h"
#include "base/fd.h"
#include "block/in_place.h"
#include "cli/wake.h"
#include "tests/support/disk_image.h"
#include "tests/support/scratch.h"

namespace dupengine::cli {
namespace {

using testing::HasSubstr;

class DiskSamples : public testing::Test {
  protected:
    static constexpr std::uint64_t kSize = 8 * kMiB;
    DiskSamples() {
        const Fd file = open_path(path_, O_RDWR | O_CREAT, Code::kInternal, 0600);
        SeededRandom(1).fill(content_);
        pwrite_exact(file.get(), 0, content_, Code::kInternal, path_);
        loop_.emplace(path_);
    }
    DiskSample sample(std::uint64_t offset, std::uint64_t size) const {
        return {offset, size, codec::sha256(std::span(content_).subspan(offset, size))};
    }
    std::string refusal(const std::vector<DiskSample>& samples) const {
        try {
            check_disk_samples({loop_->path()}, samples);
        } catch (const Error& e) {
            EXPECT_EQ(e.code(), Code::kRefused);
            return e.what();
        }
        return "";
    }
    test::ScratchFolder folder_;
    std::string path_ = folder_.file("disk");
    Bytes content_ = Bytes(kSize);
    std::optional<test::LoopDevice> loop_;
};

TEST_F(DiskSamples, OfTheDiskThatWasReceivedAreThere) {
    EXPECT_EQ(refusal({sample(0, 4096), sample(1024, 1000), sample(kSize - 4096, 4096)}), "");
    EXPECT_EQ(refusal({}), "");
}

TEST_F(DiskSamples, OfAnotherDiskInItsPlaceAreNot) {
    DiskSample other = sample(4096, 4096);
    other.sha256[0] ^= std::byte{1};
    EXPECT_THAT(refusal({sample(0, 4096), other}),
                HasSubstr("4096 bytes at 4096 are not what the source had"));
}

TEST_F(DiskSamples, BeyondTheEndOfASmallerDiskAreNotReadAtAll) {
    DiskSample beyond = sample(0, 4096);
    beyond.offset = kSize - 1;
    EXPECT_THAT(refusal({beyond}), HasSubstr("is not the disk"));
    beyond = {UINT64_MAX - 5, 4096, {}};
    EXPECT_THAT(refusal({beyond}), HasSubstr("is not the disk"));
}

// The kernel of the duplicate remembers the source's disk, whatever is there.
TEST_F(DiskSamples, AreAskedOfTheMediumAndNotOfWhatIsRemembered) {
    const Fd cached = open_path(loop_->path(), O_RDONLY, Code::kInternal);
    Bytes remembered(kMiB), now(kMiB);
    pread_exact(cached.get(), 0, remembered, Code::kInternal, "cached");
    {
        const Fd beneath = open_path(path_, O_WRONLY, Code::kInternal);
        pwrite_exact(beneath.get(), 5000, as_bytes("another disk"), Code::kInternal, path_);
    }
    pread_exact(cached.get(), 0, now, Code::kInternal, "cached");
    ASSERT_TRUE(now == remembered) << "nothing stale is cached, so this would prove nothing";
    EXPECT_THAT(refusal({sample(4096, 4096)}), HasSubstr("is not the disk"));
}

}  // namespace
}  // namespace dupengine::cli
