// Used extents of NTFS against ntfs-3g: volumes aged on a loop device, unmounted or cut off in the middle.

#include <gtest/gtest.h>

#include <filesystem>

#include "base/fd.h"
#include "tests/support/aged_filesystem.h"
#include "tests/support/filesystems.h"

namespace dupengine::test {
namespace {

// The makes of NTFS through which the seeds go.
const std::vector<std::vector<std::string>> kMakes = {
    {},
    {"-c", "512"},
    {"-c", "1024"},
    {"-c", "65536"},
    {"-C"},  // compressed
    {"-s", "4096"},
    {"-c", "131072"},
};

std::string make_ntfs(const ScratchFolder& scratch, std::uint64_t seed) {
    const std::string image = scratch.sparse_file("image", 96 * kMiB);
    std::vector<std::string> argv = {"mkntfs", "-q", "-F", "-Q"};
    const auto& make = kMakes[seed % kMakes.size()];
    argv.insert(argv.end(), make.begin(), make.end());
    argv.push_back(image);
    must_run(argv);
    return image;
}

std::uint64_t ntfsinfo_number(const std::string& image, const std::string& field) {
    const std::string text = must_run({"ntfsinfo", "-m", image});
    const std::size_t at = text.find(field + ": ");
    if (at == std::string::npos) throw_error(Code::kInternal, "ntfsinfo says nothing of {}", field);
    return std::stoull(text.substr(at + field.size() + 2));
}

void expect_sound(const std::string& image) {
    // Walks all files and holds their clusters against the bitmap.
    const RunResult resize = run_program({"ntfsresize", "--info", "--force", "--no-progress-bar", image});
    EXPECT_EQ(resize.status, 0) << resize.out << resize.err;
    const RunResult fix = run_program({"ntfsfix", "--no-action", image});
    EXPECT_EQ(fix.status, 0) << fix.out << fix.err;
}

void expect_copy_is_complete(const ScratchFolder& scratch, const std::string& image) {
    const Look look = look_at(image);
    ASSERT_FALSE(look.used.whole) << look.used.reason;
    const std::uint64_t cluster = ntfsinfo_number(image, "Cluster Size"),
                        clusters = ntfsinfo_number(image, "Volume Size in Clusters"),
                        free = ntfsinfo_number(image, "Free Clusters");
    EXPECT_EQ(look.used.used.total_bytes(),
              (clusters - free) * cluster + look.used.filesystem_bytes - clusters * cluster);
    rebuild(image, look.used, std::byte{0xA5}, scratch.file("copy"));
    expect_sound(scratch.file("copy"));
    expect_same_mounted(scratch, image, scratch.file("copy"), "ntfs-3g", "ro");
}

class AgedByNtfs3g : public testing::TestWithParam<std::uint64_t> {
  protected:
    // Several rounds, so that what one run of the driver keeps in memory does not decide where files lie.
    void age(const std::string& image) {
        for (std::uint64_t round = 0; round < 3; ++round) {
            const LoopDevice loop(image, {.sector_bytes = sector_bytes()});
            const Mount mount(loop.path(), scratch_.file("mnt"), "ntfs-3g", "compression");
            Churn(scratch_.file("mnt"), GetParam() * 3 + round).run(150);
        }
    }
    std::uint32_t sector_bytes() const { return GetParam() % kMakes.size() == 5 ? 4096 : 512; }

    ScratchFolder scratch_;
};

TEST_P(AgedByNtfs3g, AVolumeIsCopiedWithoutItsFreeClusters) {
    RecordProperty("seed", std::to_string(GetParam()));
    const std::string image = make_ntfs(scratch_, GetParam());
    age(image);
    const Look look = look_at(image);
    ASSERT_TRUE(look.signature);
    EXPECT_EQ(look.signature->type, "ntfs");
    EXPECT_GT(look.used.used.count(), 3u);
    expect_copy_is_complete(scratch_, image);
}

INSTANTIATE_TEST_SUITE_P(Seed, AgedByNtfs3g, aged_seeds());

// The table grows where deleted files left room, until its pieces are described in several records that are
// in the table themselves.
TEST(FragmentedNtfs, AFileTableInManyPiecesIsFollowedThroughItsAttributeList) {
    const ScratchFolder scratch;
    const std::string image = scratch.sparse_file("image", 8 * kMiB), folder = scratch.file("mnt");
    must_run({"mkntfs", "-q", "-F", "-Q", "-c", "512", image});
    {
        const LoopDevice loop(image);
        const Mount mount(loop.path(), folder, "ntfs-3g");
        const auto fill = [&](const std::string& name, std::size_t size) {
            for (unsigned i = 0;; ++i)
                try {
                    write_file_atomic(fmt::format("{}/{}{}", folder, name, i), Bytes(size, std::byte{1}),
                                      0644, Code::kTargetIo);
                } catch (const Error&) {
                    return i;  // full
                }
        };
        const unsigned files = fill("large", 1500);
        for (unsigned i = 0; i < files; i += 2)
            std::filesystem::remove(fmt::format("{}/large{}", folder, i));
        EXPECT_GT(fill("small", 300), 100u);
    }
    const std::string table = must_run({"ntfsinfo", "-v", "-i", "0", image});
    EXPECT_NE(table.find("$ATTRIBUTE_LIST"), std::string::npos) << "the table is not in enough pieces";
    expect_copy_is_complete(scratch, image);
}

// ntfs-3g leaves no mark while it is at work. What it has flushed must be in the copy, whatever the bitmap in
// place says: either all of its clusters are in the bitmap, or all is copied.
TEST(CutOffNtfs, WhatWasFlushedSurvivesACutOfNtfs3g) {
    for (std::uint64_t seed = 1; seed < 7; ++seed) {
        SCOPED_TRACE(fmt::format("seed {}", seed));
        const ScratchFolder scratch;
        const std::string image = make_ntfs(scratch, seed == 5 ? 0 : seed), cut = scratch.file("cut"),
                          copy = scratch.file("copy");
        {
            const LoopDevice loop(image);
            const Mount mount(loop.path(), scratch.file("mnt"), "ntfs-3g");
            Churn(scratch.file("mnt"), seed).run(150);
            must_run({"cp", "--sparse=always", image, cut});
        }
        const Look look = look_at(cut);
        rebuild(cut, look.used, std::byte{0xA5}, copy);
        expect_same_mounted(scratch, cut, copy, "ntfs-3g", "ro");
    }
}

}  // namespace
}  // namespace dupengine::test
