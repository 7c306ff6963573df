// What one question may cost the machine that answers.

#include "wire/answers.h"

#include <gtest/gtest.h>

#include "tests/support/wire_rig.h"
#include "wire/remote_reader.h"

namespace dupengine::wire {
namespace {

using block::Extent;

// 4 KiB of data and 4 KiB of hole, all over: too small to be told of. Counts what it is asked.
class Holey final : public block::Reader {
  public:
    const block::Geometry& geometry() const override { return geometry_; }
    const std::string& name() const override { return name_; }
    void read(ByteOffset, std::span<std::byte> buffer) const override {
        ++reads;
        std::ranges::fill(buffer, std::byte{1});
    }
    Extent next_data(Extent within) const override {
        ++looks;
        const std::uint64_t base = align_down(within.begin, 8192);
        const Extent here = Extent{base, base + 4096}.clipped_to(within);
        return here.empty() ? Extent{base + 8192, base + 12288}.clipped_to(within) : here;
    }
    mutable std::atomic<unsigned> reads{0}, looks{0};

  private:
    const block::Geometry geometry_{.size_bytes = 4 * kGiB};
    const std::string name_ = "holey";
};

TEST(Answers, AMapOfAFileThatIsFullOfSmallHolesIsAnsweredInParts) {
    const Holey disk;
    test::WireRig rig(disk);
    const auto link = rig.link();
    const Extent all{0, disk.geometry().size_bytes};
    const Mapped mapped =
        decode_mapped(link->wait(link->ask(Type::kMap, encode_extents({&all, 1})), Type::kMapped));
    EXPECT_LE(disk.looks, 20'000u) << "one question walked over the whole file";
    EXPECT_GT(mapped.known_to, 0u);
    const RemoteReader reader(*link);
    EXPECT_EQ(reader.next_data({all.end - 4096, all.end}), Extent{}) << "and who asks goes on from there";
}

TEST(Answers, ADiskIsDescribedOnceHoweverManyAsk) {
    const Holey disk;
    KeptPreparation kept;
    const auto first = kept.get(disk, Lasting::kForGood);
    const unsigned reads = disk.reads;
    EXPECT_GT(reads, 0u);
    EXPECT_EQ(kept.get(disk, Lasting::kForGood), first);
    EXPECT_EQ(kept.get(disk, Lasting::kForSeconds), first);
    EXPECT_EQ(disk.reads, reads);
    // Each connection has its own copy of what is offered.
    const OfferedDisk offered{"disk", disk}, copy = offered;
    EXPECT_EQ(copy.preparation, offered.preparation);
}

}  // namespace
}  // namespace dupengine::wire
