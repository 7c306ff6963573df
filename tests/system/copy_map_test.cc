// `dupengine copy --map`: the disks of one machine in one plan.

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <nlohmann/json.hpp>

#include "tests/support/disk_image.h"
#include "tests/support/faulty_disk.h"

namespace dupengine {
namespace {

using nlohmann::json;
using test::must_run;
using testing::HasSubstr;

constexpr std::uint64_t kLarger = 128 << 20, kSmall = 8 << 20;

std::string table_type(const std::string& disk) {
    return run_program({"blkid", "-p", "-s", "PTTYPE", "-o", "value", disk}).out;
}

RunResult copy_maps(const std::vector<std::string>& maps, const std::vector<std::string>& options) {
    std::vector<std::string> arguments = {"copy"};
    for (const std::string& map : maps)
        arguments.insert(arguments.end(), {"--map", map});
    arguments.insert(arguments.end(), options.begin(), options.end());
    return test::run_dupengine(arguments);
}

// A system disk and a data disk, and where they go.
struct Map : testing::Test {
    test::ScratchFolder folder;
    test::DiskImage system = test::make_disk_image(folder, "system.img", {.seed = 1}),
                    data = test::make_disk_image(folder, "data.img", {.seed = 2});
    std::string system_copy = folder.sparse_file("system-copy.img", kLarger),
                data_copy = folder.sparse_file("data-copy.img", kLarger);

    std::vector<std::string> both() const {
        return {system.path + "=" + system_copy, data.path + "=" + data_copy};
    }
    std::string tree_of(const test::DiskImage& image, const std::string& disk) const {
        const std::string part = folder.file("part.img");
        test::extract_range(disk, image.root, part);
        return test::ext_tree_digest(folder, part);
    }
    bool is_copied(const test::DiskImage& image, const std::string& copy) const {
        return must_run({"sgdisk", "-v", copy}).find("No problems found") != std::string::npos &&
               tree_of(image, copy) == tree_of(image, image.path);
    }
};

// Sources of no particular kind.
struct MapRefusals : testing::Test {
    test::ScratchFolder folder;
    std::string first = folder.file("first.img"), second = folder.file("second.img"),
                first_copy = folder.sparse_file("first-copy.img", kSmall),
                second_copy = folder.sparse_file("second-copy.img", kSmall);

    void SetUp() override {
        test::fill_with_old_data(first, kSmall);
        test::fill_with_old_data(second, kSmall);
    }
    // Exit 3 with this in its one line, and not a byte of a target is written.
    void expect_refusal(const std::vector<std::string>& maps, const std::string& reason,
                        const std::vector<std::string>& options = {"--yes"}) const {
        const std::string before = test::file_sha256(first_copy) + test::file_sha256(second_copy);
        const RunResult result = copy_maps(maps, options);
        EXPECT_EQ(result.status, 3) << result.err;
        EXPECT_THAT(result.err, HasSubstr(reason));
        EXPECT_EQ(std::count(result.err.begin(), result.err.end(), '\n'), 1) << result.err;
        EXPECT_EQ(test::file_sha256(first_copy) + test::file_sha256(second_copy), before);
    }
};

TEST_F(Map, BothDisksAreCopiedAndTheReportHasOneEntryForEach) {
    const RunResult result = copy_maps(both(), {"--yes", "--json"});
    ASSERT_EQ(result.status, 0) << result.err;
    const json report = json::parse(result.out);
    EXPECT_EQ(report["result"], "verified");
    EXPECT_GT(report["seconds"], 0.0);
    ASSERT_EQ(report["disks"].size(), 2u);
    EXPECT_EQ(report["disks"][0]["target"], system_copy);
    EXPECT_EQ(report["disks"][1]["source"], data.path);
    EXPECT_EQ(report["disks"][1]["result"], "verified");
    EXPECT_EQ(report["disks"][1]["plan"]["partitions"].size(), 3u);
    EXPECT_TRUE(is_copied(system, system_copy));
    EXPECT_TRUE(is_copied(data, data_copy));
}

TEST_F(Map, OneSourceGoesToSeveralTargets) {
    const RunResult result =
        copy_maps({system.path + "=" + system_copy, system.path + "=" + data_copy}, {"--yes"});
    ASSERT_EQ(result.status, 0) << result.err;
    EXPECT_TRUE(is_copied(system, system_copy));
    EXPECT_TRUE(is_copied(system, data_copy));
}

TEST_F(Map, AnErrorOnTheSecondDiskLeavesTheFirstUnfinished) {
    const test::FaultyDisk faulty(folder, data_copy,
                                  {.sector = (data.root.begin + 4096) / 512, .on_write = true});
    const RunResult result = copy_maps({both()[0], data.path + "=" + faulty.path()}, {"--yes"});
    EXPECT_EQ(result.status, 5) << result.err;
    EXPECT_EQ(tree_of(system, system_copy), tree_of(system, system.path)) << "the test shows nothing";
    EXPECT_EQ(table_type(system_copy), "") << "half of a machine passes for a disk";
    EXPECT_EQ(table_type(data_copy), "");
}

// Killed while the second disk is copied: both are unfinished, and the next run does not write the first
// anew.
TEST_F(Map, AKillBetweenTheDisksLeavesNoneAndTheNextRunGoesOn) {
    const std::string script = fmt::format(
        "{} copy --yes --progress=none --rate=16M --map {} --map {} & copy=$!\n"
        "while [ $(stat -c %b {}) -lt 2048 ] && kill -0 $copy; do sleep 0.02; done\n"
        "kill -KILL $copy; wait $copy",
        test::command(), both()[0], both()[1], data_copy);
    EXPECT_EQ(run_program({"bash", "-c", script}).status, 128 + SIGKILL)
        << "it was over: the test shows nothing";
    for (const std::string& copy : {system_copy, data_copy}) {
        EXPECT_EQ(table_type(copy), "") << copy;
        EXPECT_TRUE(
            json::parse(test::run_dupengine({"inspect", "--json", copy}).out)["incomplete"].is_object())
            << copy;
    }
    const RunResult second = copy_maps(both(), {"--yes", "--json"});
    ASSERT_EQ(second.status, 0) << second.err;
    const json first_disk = json::parse(second.out)["disks"][0];
    EXPECT_GT(first_disk["bytes_equal"], first_disk["bytes_used"].get<std::uint64_t>() - (1u << 20));
    EXPECT_LT(first_disk["bytes_written"], 1u << 20) << "only marks and tables";
    EXPECT_TRUE(is_copied(system, system_copy));
    EXPECT_TRUE(is_copied(data, data_copy));
}

TEST_F(MapRefusals, APlanIsDrawnOfAllDisksAndOneQuestionNamesAllTargets) {
    const std::vector<std::string> both = {first + "=" + first_copy, second + "=" + second_copy};
    const RunResult drawn = copy_maps(both, {"--dry-run"});
    EXPECT_EQ(drawn.status, 0) << drawn.err;
    EXPECT_THAT(drawn.out, HasSubstr("disk 1 of 2\nsource  " + first));
    EXPECT_THAT(drawn.out, HasSubstr("disk 2 of 2\nsource  " + second));
    EXPECT_EQ(json::parse(copy_maps(both, {"--dry-run", "--json"}).out)["result"], "planned");
    expect_refusal(both, first_copy + ", " + second_copy + ": not confirmed", {});
}

// A script that makes its --map options in a loop need not count them.
TEST_F(MapRefusals, OneMapIsReportedInTheFormOfASetToo) {
    const RunResult result = copy_maps({first + "=" + first_copy}, {"--dry-run", "--json"});
    EXPECT_EQ(json::parse(result.out)["disks"].size(), 1u) << result.err;
}

TEST_F(MapRefusals, WhatCannotBeDoneToOneIsDoneToNone) {
    const std::string good = first + "=" + first_copy;
    expect_refusal({good, second + "=" + folder.sparse_file("small.img", kSmall / 2)}, "too small");
    expect_refusal({good, folder.file("nothing") + "=" + second_copy}, "No such file");
    const test::LoopDevice busy(folder.sparse_file("busy.img", kSmall));
    must_run({"mke2fs", "-q", "-F", busy.path()});
    const std::string place = folder.file("mnt");
    std::filesystem::create_directory(place);
    must_run({"mount", busy.path(), place});
    expect_refusal({good, second + "=" + busy.path()}, "mounted on");
    expect_refusal({good, busy.path() + "=" + second_copy}, "is in use");
    must_run({"umount", place});
}

TEST_F(MapRefusals, ATargetThatIsTakenAlreadyIsRefusedByAnyName) {
    const std::string good = first + "=" + first_copy, link = folder.file("link");
    std::filesystem::create_hard_link(first_copy, link);
    expect_refusal({good, second + "=" + link}, "are the same storage");
    expect_refusal({good, link + "=" + second_copy}, "a target and a source of one set");
    const test::LoopDevice loop(first);
    expect_refusal({good, second + "=" + loop.path()}, "a target and a source of one set");
}

TEST_F(MapRefusals, ANewTargetFileGoesAwayAgainIfAnotherDiskIsRefused) {
    const std::string created = folder.file("created.img");
    expect_refusal({first + "=" + created, second + "=" + folder.sparse_file("small.img", kSmall / 2)},
                   "too small", {"--yes", "--create"});
    EXPECT_FALSE(std::filesystem::exists(created));
}

}  // namespace
}  // namespace dupengine
