// Tables that are not what partitioning programs make by default, held against the programs that made them.

#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "tests/support/disk_image.h"

namespace dupengine {
namespace {

using nlohmann::json;
using test::must_run;
using test::ScratchFolder;

constexpr std::uint64_t kSize = 64 << 20;

json copy(const std::string& source, const std::string& target) {
    const RunResult result = test::run_dupengine({"copy", "--json", "--yes", source, target});
    EXPECT_EQ(result.status, 0) << result.err;
    return json::parse(result.out);
}

std::string partition_content(const ScratchFolder& folder, const std::string& disk, block::Extent part) {
    const std::string file = folder.file("part");
    test::extract_range(disk, part, file);
    return test::file_sha256(file);
}

// All of the disk is one partition, up to the few sectors that the backup of a short table takes.
TEST(CopyTables, AShortTableIsCopiedToADiskOfTheSameSizeAndStaysShort) {
    const ScratchFolder folder;
    for (const std::string entries : {"4", "16"}) {
        const std::string source = folder.sparse_file("source.img", kSize);
        test::fill_with_old_data(source, kSize);
        must_run({"sgdisk", "--zap-all", source});
        must_run({"sgdisk", "--resize-table=" + entries, "--new=1:0:0", source});
        const std::string target = folder.sparse_file("target.img", kSize);
        EXPECT_EQ(copy(source, target)["result"], "verified");
        EXPECT_EQ(run_program({"cmp", source, target}).status, 0) << "with " << entries << " entries";
        EXPECT_NE(must_run({"sgdisk", "-v", target}).find("No problems found"), std::string::npos);
    }
}

TEST(CopyTables, ShortTablesTakeUpAProfileThatIsThere) {
    const ScratchFolder folder;
    const std::string source = folder.sparse_file("source.img", kSize / 2);
    test::fill_with_old_data(source, kSize / 2);
    must_run({"sgdisk", "--zap-all", source});
    must_run({"sgdisk", "--resize-table=4", "--new=1:1M:+16M", source});
    const std::string target = folder.sparse_file("target.img", kSize);
    EXPECT_EQ(test::run_dupengine({"profile", "init", "--store", "partition:" + target}).status, 0);
    const block::Extent profile{59 * kMiB, 63 * kMiB};
    const std::string before = partition_content(folder, target, profile);
    copy(source, target);
    EXPECT_EQ(partition_content(folder, target, profile), before) << "the profile changed";
    const std::string table = must_run({"sgdisk", "-v", "-p", target});
    EXPECT_NE(table.find("holds up to 128 entries"), std::string::npos) << table;
    EXPECT_NE(table.find("No problems found"), std::string::npos) << table;
    EXPECT_EQ(partition_content(folder, source, {kMiB, 17 * kMiB}),
              partition_content(folder, target, {kMiB, 17 * kMiB}));
}

// The numbers run against the order of the disk, and each partition holds a filesystem of its own.
TEST(CopyTables, PartitionsOutOfDiskOrderKeepTheirPlacesAndTheirFiles) {
    const ScratchFolder folder;
    constexpr unsigned kParts = 6;
    const std::string source = folder.sparse_file("source.img", kSize), tree = folder.file("tree");
    std::vector<std::string> arguments = {"sgdisk"};
    for (unsigned i = 0; i < kParts; ++i)
        arguments.push_back(fmt::format("--new={}:{}M:+8M", kParts - i, 1 + 9 * i));
    arguments.push_back(source);
    must_run(arguments);
    must_run({"mkdir", tree});
    for (unsigned i = 0; i < kParts; ++i) {
        std::ofstream(tree + "/which") << "the filesystem at place " << i << "\n";
        must_run({"mke2fs", "-q", "-F", "-t", "ext4", "-d", tree, "-E",
                  fmt::format("offset={}", (1 + 9 * i) * kMiB), source, "8M"});
    }
    const std::string target = folder.sparse_file("target.img", kSize);
    test::fill_with_old_data(target, kSize);
    copy(source, target);
    EXPECT_EQ(must_run({"sgdisk", "-p", source}).substr(5 + source.size()),
              must_run({"sgdisk", "-p", target}).substr(5 + target.size()));
    const std::string part = folder.file("part");
    for (unsigned i = 0; i < kParts; ++i) {
        test::extract_range(target, {(1 + 9 * i) * kMiB, (9 + 9 * i) * kMiB}, part);
        EXPECT_EQ(run_program({"e2fsck", "-fn", part}).status, 0) << "place " << i;
        EXPECT_TRUE(test::file_contains(part, fmt::format("the filesystem at place {}\n", i)));
    }
    EXPECT_FALSE(test::file_contains(target, test::kOldText));
}

}  // namespace
}  // namespace dupengine
