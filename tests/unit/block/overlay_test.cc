#include "block/overlay.h"

#include <gmock/gmock.h>

#include <cstdlib>
#include <random>
#include <thread>

#include "tests/support/fake_devices.h"

namespace dupengine::block {
namespace {

using ::testing::HasSubstr;

constexpr std::uint64_t kSize = 32 * kKiB;

// A model in memory beside it: whatever is written in which order, the overlay reads as the model and the
// base as before.
TEST(Overlay, ReadsWhatAPlainCopyWouldHoldAndTheBaseStays) {
    for (unsigned seed = 1; seed <= 200; ++seed) {
        SCOPED_TRACE(fmt::format("seed {}", seed));
        std::mt19937_64 random(seed);
        constexpr ByteOffset kBegin = 4096;
        test::MemoryDevice base(kBegin + kSize + 512);
        test::fill_pattern(base.bytes()->content, seed);
        const Bytes before = base.bytes()->content;
        Overlay overlay(base, {kBegin, kBegin + kSize}, "part", 0);
        Bytes model(before.begin() + kBegin, before.begin() + kBegin + kSize);
        std::vector<bool> touched(kSize);
        for (int step = 0; step < 20; ++step) {
            const ByteOffset begin = random() % kSize;
            Bytes content(random() % std::min<std::uint64_t>(kSize - begin + 1, 6000));
            test::fill_pattern(content, random());
            overlay.write(begin, content);
            std::copy(content.begin(), content.end(), model.begin() + static_cast<std::ptrdiff_t>(begin));
            std::fill_n(touched.begin() + static_cast<std::ptrdiff_t>(begin), content.size(), true);
            const ByteOffset at = random() % kSize;
            const Extent looked{at, at + random() % (kSize - at + 1)};
            const auto expected = std::span(model).subspan(looked.begin, looked.size());
            ASSERT_EQ(read_extent(overlay, looked), Bytes(expected.begin(), expected.end()));
        }
        EXPECT_EQ(overlay.changed_bytes(),
                  static_cast<std::uint64_t>(std::count(touched.begin(), touched.end(), true)));
        EXPECT_EQ(base.bytes()->content, before) << "the source was written";
        for (const auto& call : base.calls())
            EXPECT_TRUE(call.operation == test::Operation::kRead);
    }
}

TEST(Overlay, AHoleOfTheBaseIsOneUntilSomethingIsWrittenThere) {
    class Hole final : public Reader {
      public:
        const Geometry& geometry() const override { return geometry_; }
        const std::string& name() const override { return name_; }
        void read(ByteOffset, std::span<std::byte> buffer) const override {
            std::fill(buffer.begin(), buffer.end(), std::byte{0});
        }
        Extent next_data(Extent) const override { return {}; }

      private:
        Geometry geometry_{kSize};
        std::string name_ = "hole";
    };
    const Hole base;
    Overlay overlay(base, {0, kSize}, "part", 0);
    EXPECT_TRUE(overlay.next_data({0, kSize}).empty());
    overlay.write(5000, Bytes(100, std::byte{1}));
    EXPECT_EQ(overlay.next_data({0, kSize}), (Extent{5000, 5100}));
    EXPECT_TRUE(overlay.next_data({5100, kSize}).empty());
}

TEST(Overlay, TooLittleRoomForTheChangesIsSaidBeforeTheWork) {
    test::MemoryDevice base(kSize);
    try {
        const Overlay overlay(base, {0, kSize}, "part", std::uint64_t{1} << 60);
        FAIL() << "nobody has an exbibyte";
    } catch (const Error& e) {
        EXPECT_EQ(e.code(), Code::kRefused);
        EXPECT_THAT(e.what(), HasSubstr("TMPDIR"));
    }
}

TEST(Overlay, MayBeReadWhileOthersWrite) {
    test::MemoryDevice base(kSize);
    Overlay overlay(base, {0, kSize}, "part", 0);
    constexpr std::uint64_t kPart = kSize / 4;
    std::vector<std::thread> threads;
    for (unsigned i = 0; i < 4; ++i)
        threads.emplace_back([&overlay, i] {
            for (ByteOffset at = i * kPart; at < (i + 1) * kPart; at += 256) {
                overlay.write(at, Bytes(256, static_cast<std::byte>(i + 1)));
                EXPECT_EQ(read_extent(overlay, {at, at + 256}), Bytes(256, static_cast<std::byte>(i + 1)));
            }
        });
    for (std::thread& thread : threads)
        thread.join();
    EXPECT_EQ(overlay.changed_bytes(), kSize);
    EXPECT_EQ(read_extent(overlay, {kPart, kPart + 1}).front(), std::byte{2});
}

}  // namespace
}  // namespace dupengine::block
