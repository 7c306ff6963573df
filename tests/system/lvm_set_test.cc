// A volume group on several disks: what travels is what its filesystems use, if all of its disks travel.

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <nlohmann/json.hpp>

#include "base/fd.h"
#include "block/open.h"
#include "layout/describe.h"
#include "tests/support/disk_image.h"
#include "tests/support/filesystems.h"
#include "tests/support/lvm_disk.h"

namespace dupengine::test {
namespace {

using nlohmann::json;
using testing::AllOf;
using testing::HasSubstr;

constexpr std::uint64_t kSize = 48 * kMiB;

void write_at(const std::string& path, ByteOffset at, std::string_view text) {
    const Fd fd = open_path(path, O_RDWR, Code::kInternal);
    pwrite_exact(fd.get(), at, as_bytes(text), Code::kInternal, path);
}

std::vector<layout::DiskDescription> describe(const std::vector<std::string>& paths) {
    std::vector<std::unique_ptr<block::Reader>> disks;
    std::vector<const block::Reader*> readers;
    for (const std::string& path : paths)
        readers.push_back(disks.emplace_back(block::open_source(path)).get());
    return layout::describe_disks(readers, layout::Depth::kUsedExtents);
}

struct LvmOnTwoDisks : testing::Test {
    ScratchFolder folder;
    std::string striped =
                    make_ext(folder, "striped.img", 24 * kMiB, {"-t", "ext4"}, make_tree(folder, "t1", 1)),
                linear =
                    make_ext(folder, "linear.img", 48 * kMiB, {"-t", "ext4"}, make_tree(folder, "t2", 2));
    LvmSet set = make_lvm_set(folder, striped, linear);

    std::string copy_name(std::size_t disk) const { return folder.file(fmt::format("copy-{}.img", disk)); }
    RunResult verify() const {
        return run_dupengine({"verify", "--json", "--map", set.paths[0] + "=" + copy_name(0), "--map",
                              set.paths[1] + "=" + copy_name(1)});
    }
    // In bytes of the volume that its filesystem does not use: the first chunk of a row of stripes.
    void hide_deleted_text(const std::string& image, const LvmSet::Run& run) const {
        auto used = look_at(image).used;
        used.used.insert(used.blank);
        const std::uint64_t row = run.chunk_bytes * run.stripes.size();
        for (block::Extent free : used.used.gaps_in({0, run.stripes[0].place.size() * run.stripes.size()})) {
            const ByteOffset at = align_up(free.begin, row);
            if (at + row > free.end) continue;
            write_at(set.paths[run.stripes[0].disk], run.stripes[0].place.begin + at / run.stripes.size(),
                     kDeletedText);
            return;
        }
        FAIL() << image << " has no free bytes: the test shows nothing";
    }
    // An older state of the group, in which "extra" was not there yet.
    void change_group() const {
        const LoopDevice a(set.paths[0]), b(set.paths[1]);
        const RunResult made = run_lvm(
            {a.path(), b.path()}, {"lvcreate", "-y", "-an", "-Zn", "-Wn", "-n", "extra", "-l", "1", "vg0"});
        ASSERT_EQ(made.status, 0) << made.complaint();
    }
    void expect_volume(const std::vector<LvmSet::Run>& runs, const std::string& original) const {
        const std::string volume = folder.file("volume.img");
        read_lvm_volume(runs, {copy_name(0), copy_name(1)}, volume);
        EXPECT_EQ(run_program({"e2fsck", "-fn", volume}).status, 0);
        EXPECT_EQ(ext_tree_digest(folder, volume), ext_tree_digest(folder, original));
    }
};

TEST_F(LvmOnTwoDisks, OnlyWhatItsFilesystemsUseIsCopiedThoughTheyLieOnBoth) {
    ASSERT_EQ(set.striped.front().stripes.size(), 2u) << "not striped: the test shows nothing";
    ASSERT_EQ(set.linear.size(), 2u) << "not on both disks: the test shows nothing";
    // In an unused extent, and in blocks that a filesystem on both disks does not use.
    write_at(set.paths[1], kSize - 4 * kMiB, kDeletedText);
    hide_deleted_text(striped, set.striped.front());
    hide_deleted_text(linear, set.linear.front());
    for (std::size_t i = 0; i < 2; ++i)
        fill_with_old_data(copy_name(i), kSize);
    const RunResult copied =
        run_dupengine({"copy", "--yes", "--json", "--map", set.paths[0] + "=" + copy_name(0), "--map",
                       set.paths[1] + "=" + copy_name(1)});
    ASSERT_EQ(copied.status, 0) << copied.err;
    const json report = json::parse(copied.out);
    ASSERT_EQ(report["disks"].size(), 2u);
    for (const json& disk : report["disks"]) {
        EXPECT_LT(disk["bytes_used"], 24u << 20);
        EXPECT_THAT(disk["notes"].dump(), HasSubstr("LVM group vg0: linear (ext4), striped (ext4)"));
    }
    for (std::size_t i = 0; i < 2; ++i) {
        EXPECT_FALSE(file_contains(copy_name(i), kDeletedText)) << i;
        EXPECT_FALSE(file_contains(copy_name(i), kOldText)) << i;
    }
    EXPECT_EQ(verify().status, 0) << verify().out;
    expect_volume(set.striped, striped);
    expect_volume(set.linear, linear);
    EXPECT_EQ(json::parse(verify().out)["disks"].size(), 2u);
    const LoopDevice a(copy_name(0)), b(copy_name(1));
    EXPECT_EQ(run_lvm({a.path(), b.path()}, {"vgck", "vg0"}).status, 0);
    write_at(copy_name(1), set.linear.back().stripes[0].place.begin, "damage");
    const json damaged = json::parse(verify().out);
    EXPECT_EQ(damaged["result"], "different");
    EXPECT_EQ(damaged["disks"][0]["result"], "same");
    EXPECT_EQ(damaged["disks"][1]["result"], "different");
}

TEST_F(LvmOnTwoDisks, WhatIsNotAllAmongTheSourcesIsCopiedWholeAndSaid) {
    const auto alone = describe({set.paths[0]});
    EXPECT_FALSE(alone[0].used.whole) << alone[0].used.reason;
    EXPECT_THAT(alone[0].used.note, AllOf(HasSubstr("1 of its 2 physical volumes not among"),
                                          HasSubstr("linear (whole: not all of it is here)"),
                                          HasSubstr("striped (whole: not all of it is here)")));
    for (const auto& runs : {set.striped, set.linear})
        for (const auto& run : runs)
            for (const auto& stripe : run.stripes)
                if (stripe.disk == 0) {
                    EXPECT_TRUE(alone[0].used.used.contains(stripe.place));
                }
}

TEST_F(LvmOnTwoDisks, TheOrderOfTheDisksDoesNotMatter) {
    const auto forth = describe({set.paths[0], set.paths[1]}), back = describe({set.paths[1], set.paths[0]});
    EXPECT_EQ(forth[0].used.used, back[1].used.used);
    EXPECT_EQ(forth[1].used.used, back[0].used.used);
}

TEST_F(LvmOnTwoDisks, PartitionsOfOneDiskAreAGroupToo) {
    const auto apart = describe(set.paths);
    const std::string disk = folder.sparse_file("disk.img", 100 * kMiB);
    must_run({"sgdisk", "--new=1:1M:+48M", "--new=2:49M:+48M", disk});
    for (std::size_t i = 0; i < 2; ++i)
        must_run({"dd", "status=none", "conv=notrunc", "bs=1M", fmt::format("seek={}", 1 + 48 * i),
                  "if=" + set.paths[i], "of=" + disk});
    const auto together = describe({disk});
    ASSERT_EQ(together[0].partitions.size(), 2u);
    for (std::size_t i = 0; i < 2; ++i) {
        EXPECT_EQ(together[0].partitions[i].used.used, apart[i].used.used);
        EXPECT_THAT(together[0].partitions[i].used.note, HasSubstr("striped (ext4)"));
    }
}

TEST_F(LvmOnTwoDisks, ADiskThatMissedAChangeOfItsGroupIsNotBelieved) {
    std::filesystem::copy_file(set.paths[0], folder.file("old.img"));
    change_group();
    ASSERT_FALSE(describe(set.paths)[0].used.whole) << "the test shows nothing";
    for (const auto& disk : describe({folder.file("old.img"), set.paths[1]})) {
        EXPECT_TRUE(disk.used.whole);
        EXPECT_THAT(disk.used.reason, HasSubstr("disagree"));
        EXPECT_EQ(disk.used.used.total_bytes(), kSize);
    }
}

TEST_F(LvmOnTwoDisks, APhysicalVolumeThatIsThereTwiceIsNotBelieved) {
    std::filesystem::copy_file(set.paths[0], folder.file("twin.img"));
    for (const auto& disk : describe({set.paths[0], folder.file("twin.img"), set.paths[1]})) {
        EXPECT_TRUE(disk.used.whole);
        EXPECT_THAT(disk.used.reason, HasSubstr("here twice"));
    }
}

TEST_F(LvmOnTwoDisks, ADamagedLabelMeansThatItsDiskAndWhatLiesOnItAreCopiedWhole) {
    write_at(set.paths[1], 512 + 20, "damage");
    const auto disks = describe(set.paths);
    EXPECT_THAT(disks[0].used.note, HasSubstr("striped (whole: not all of it is here)"));
    EXPECT_TRUE(disks[1].used.whole);
    EXPECT_EQ(disks[1].used.used.total_bytes(), kSize);
}

}  // namespace
}  // namespace dupengine::test
