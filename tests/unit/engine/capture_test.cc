// What becomes of a disk that is taken into an image.

#include "engine/capture.h"

#include <gtest/gtest.h>

#include "image/open_image.h"
#include "tests/support/gpt_disk.h"
#include "tests/support/scratch.h"

namespace dupengine::engine {
namespace {

class Capture : public ::testing::Test {
  protected:
    Capture() { image::Store::create(path_); }

    void capture(const std::string& change = "") {
        image::Store store(path_, image::StoreLock::For::kWriting);
        const CopyPlan plan = make_capture_plan(disk_, "image", {});
        image::Manifest draft = draft_manifest(plan);
        draft.name = "disk";
        image::ImageWriter writer(store, draft, captured_extents(plan));
        CaptureContext context{progress_, {}, [&] { return change; }};
        engine::capture(plan, disk_, writer, context);
        writer.finish({});
    }
    image::OpenImage open() const { return image::open_image(*image::parse_reference("image:" + path_), {}); }

    static constexpr block::Extent kData{kMiB, 5 * kMiB}, kProfile{6 * kMiB, 9 * kMiB};
    std::shared_ptr<test::DiskBytes> bytes_ = test::make_gpt_disk(
        10 * kMiB, {{1, kData}, {128, kProfile, "dupengine-profile", layout::type_guid::kProfile}}, 1, true);
    test::MemoryDevice disk_{bytes_};
    Progress progress_;
    test::ScratchFolder scratch_;
    std::string path_ = scratch_.file("store");
};

TEST_F(Capture, ASourceThatChangesMeanwhileBecomesNoImage) {
    try {
        capture("was written");
        FAIL() << "an image of what never was";
    } catch (const Error& e) {
        EXPECT_EQ(e.code(), Code::kIntegrity) << e.what();
    }
    EXPECT_THROW(open(), Error);
    capture();
    EXPECT_EQ(open().manifest().version, 1u);
}

TEST_F(Capture, TheSourcesProfileAndWhatNoPartitionHoldsAreNotInTheImage) {
    capture();
    const image::OpenImage image = open();
    Bytes data(kData.size()), profile(kProfile.size()), between(kProfile.begin - kData.end);
    image.reader->read(kData.begin, data);
    EXPECT_TRUE(std::equal(data.begin(), data.end(), bytes_->content.begin() + kData.begin));
    image.reader->read(kProfile.begin, profile);
    EXPECT_TRUE(is_zero(profile)) << "a machine's secret would travel";
    image.reader->read(kData.end, between);
    EXPECT_TRUE(is_zero(between));
    const auto described = layout::describe_disk(*image.reader, layout::Depth::kTable);
    EXPECT_EQ(described.table.partitions.size(), 1u);
    EXPECT_EQ(described.damaged_table, "");
}

class NoOutput final : public image::TarOutput {
  public:
    void append(std::span<const std::byte>) override {}
    void commit() override { is_committed = true; }
    bool is_committed = false;
};

// A partition that ends within a chunk of the image, and what lies behind it cannot be read.
TEST_F(Capture, IntoATarReadsNothingThatIsNotCaptured) {
    constexpr block::Extent kOdd{kMiB, 5 * kMiB + 12 * kKiB};
    test::MemoryDevice disk(test::make_gpt_disk(10 * kMiB, {{1, kOdd}}, 1, true));
    const CopyPlan plan = make_capture_plan(disk, "image", {});
    disk.set_interceptor([&](std::size_t, const test::Call& call) {
        if (call.extent.touches({kOdd.end, kOdd.end + 32 * kKiB}))
            throw_error(Code::kSourceIo, "a bad sector in free space");
    });
    image::Manifest draft = draft_manifest(plan);
    draft.name = "disk";
    image::TarImageWriter writer(draft, captured_extents(plan), {});
    CaptureContext context{progress_, {}};
    NoOutput output;
    capture_tar(plan, disk, writer, {}, output, context);
    EXPECT_TRUE(output.is_committed);
}

TEST_F(Capture, OfASourceThatTurnsOutNotToBeWholeIsNoImage) {
    const CopyPlan plan = make_capture_plan(disk_, "image", {});
    const auto cut = [] { throw_error(Code::kIntegrity, "the tar is cut off"); };
    image::Manifest draft = draft_manifest(plan);
    draft.name = "disk";
    image::TarImageWriter writer(draft, captured_extents(plan), {});
    CaptureContext context{progress_, {}, {}, cut};
    NoOutput output;
    EXPECT_THROW(capture_tar(plan, disk_, writer, {}, output, context), Error);
    EXPECT_FALSE(output.is_committed);
    image::Store store(path_, image::StoreLock::For::kWriting);
    image::ImageWriter into_store(store, draft, captured_extents(plan));
    EXPECT_THROW(engine::capture(plan, disk_, into_store, context), Error);
}

}  // namespace
}  // namespace dupengine::engine
