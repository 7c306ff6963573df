// Swap behind the root is what Debian's installer makes: `copy --grow` moves it to the end of a larger disk,
// where fstab and the initramfs find it by its identifiers.

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "base/fd.h"
#include "tests/support/disk_image.h"
#include "tests/support/filesystems.h"

namespace dupengine::test {
namespace {

using block::Extent;
using nlohmann::json;

constexpr Extent kRoot{9 * kMiB, 73 * kMiB}, kSwap{74 * kMiB, 94 * kMiB};
constexpr std::uint64_t kSmall = 96 * kMiB, kLarge = 160 * kMiB;
constexpr const char* kGpt =
    "label: gpt\nstart=1MiB,size=8MiB,type=U\n"
    "start=9MiB,size=64MiB,name=root,uuid=11111111-2222-3333-4444-555555555555\n"
    "start=74MiB,size=20MiB,type=S,name=swap,uuid=66666666-7777-8888-9999-aaaaaaaaaaaa\n";
constexpr const char* kMbr =
    "label: dos\nstart=9MiB,size=64MiB,type=83,bootable\nstart=74MiB,size=20MiB,type=82\n";

// Debian's installer on a machine without UEFI: the extended partition begins two sectors before the swap in
// it.
constexpr const char* kLogical =
    "label: dos\nunit: sectors\n1: start=18432,size=131072,type=83,bootable\n2: "
    "start=151550,size=40962,type=5\n"
    "5: start=151552,size=40960,type=82\n";

std::string make_source(const ScratchFolder& folder, const char* table) {
    const std::string disk = folder.sparse_file("source.img", kSmall);
    must_run({"sfdisk", "--quiet", disk}, {.input = table});
    must_run({"mke2fs", "-q", "-F", "-t", "ext4", "-d", make_tree(folder, "tree", 9), "-E",
              fmt::format("offset={}", kRoot.begin), disk, "64M"});
    const LoopDevice swap(disk, {.offset_bytes = kSwap.begin, .size_bytes = kSwap.size()});
    must_run(
        {"mkswap", "--label", "the swap", "--uuid", "01234567-89ab-cdef-0123-456789abcdef", swap.path()});
    return disk;
}

json grow(const std::string& source, const std::string& target) {
    const RunResult result = run_dupengine({"copy", "--json", "--yes", "--grow", source, target});
    EXPECT_EQ(result.status, 0) << result.err;
    return json::parse(result.out)["plan"];
}

json table_of(const std::string& disk) {
    return json::parse(must_run({"sfdisk", "--json", disk}))["partitiontable"]["partitions"];
}

std::string blkid_at(const std::string& disk, ByteOffset offset) {
    const std::string text = must_run({"blkid", "-p", "-O", std::to_string(offset), "-o", "export", "-s",
                                       "TYPE", "-s", "UUID", "-s", "LABEL", disk});
    return text.substr(text.find('\n'));  // without the file's own name
}

class CopyGrowsInFrontOfSwap : public testing::TestWithParam<const char*> {};

TEST_P(CopyGrowsInFrontOfSwap, TheSwapIsFoundAtTheEndByAllThatNamedIt) {
    const ScratchFolder folder;
    const std::string source = make_source(folder, GetParam()), before = file_sha256(source);
    const std::string target = folder.sparse_file("target.img", kLarge);
    fill_with_old_data(target, kLarge);
    const json plan = grow(source, target);
    EXPECT_EQ(file_sha256(source), before);
    const auto at = [](const json& extent, const char* key) { return extent[key].get<std::uint64_t>(); };
    json from = table_of(source), to = table_of(target);
    const std::size_t last = from.size() - 1;
    const std::size_t root = GetParam() == kGpt ? 1 : 0;
    const ByteOffset root_end = kRoot.begin + to[root]["size"].get<std::uint64_t>() * 512;
    const ByteOffset swap = to[last]["start"].get<std::uint64_t>() * 512;
    EXPECT_LE(swap - root_end, kMiB);  // what a boot record needs
    EXPECT_GT(swap + kSwap.size(), kLarge - 2 * kMiB);
    EXPECT_EQ(to[last]["size"], from[last]["size"]);
    EXPECT_EQ(plan["grow"]["swap"]["partition"], GetParam() == kLogical ? 5 : last + 1);
    EXPECT_EQ(at(plan["grow"]["swap"]["to"], "begin"), swap);
    for (json* table : {&from, &to})
        for (json& partition : *table)
            for (const char* place : {"start", "size", "node"})
                partition.erase(place);
    EXPECT_EQ(from, to) << "number, type, GUID or name changed";
    EXPECT_EQ(blkid_at(source, kSwap.begin), blkid_at(target, swap));
    EXPECT_FALSE(file_contains(target, kOldText));

    const std::string one = folder.file("one.img"), other = folder.file("other.img");
    extract_range(source, kRoot, one);
    extract_range(target, {kRoot.begin, root_end}, other);
    EXPECT_EQ(run_program({"e2fsck", "-fn", other}).status, 0);
    EXPECT_EQ(dumpe2fs_number(other, "Block count") * dumpe2fs_number(other, "Block size"),
              root_end - kRoot.begin);
    EXPECT_EQ(ext_tree_digest(folder, one), ext_tree_digest(folder, other));
}

INSTANTIATE_TEST_SUITE_P(Table, CopyGrowsInFrontOfSwap, testing::Values(kGpt, kMbr, kLogical));

TEST(CopyGrowsInFrontOfSwapNot, IfASystemHibernatedOnIt) {
    const ScratchFolder folder;
    const std::string source = make_source(folder, kGpt), target = folder.sparse_file("target.img", kLarge);
    {
        const Fd fd = open_path(source, O_RDWR, Code::kInternal);
        pwrite_exact(fd.get(), kSwap.begin + 4086, as_bytes("S1SUSPEND\0"), Code::kInternal, source);
    }
    const json plan = grow(source, target);
    EXPECT_FALSE(plan.contains("grow"));
    EXPECT_NE(plan["notes"].dump().find("partition 3 holds swsuspend, which nothing here grows"),
              std::string::npos)
        << plan["notes"];
    EXPECT_EQ(run_program({"cmp", "-n", std::to_string(kSwap.size()), "-i", std::to_string(kSwap.begin),
                           source, target})
                  .status,
              0);
}

TEST(CopyGrowsInFrontOfSwapNot, OverWhatIsProtected) {
    const ScratchFolder folder;
    const std::string source = make_source(folder, kGpt), target = folder.sparse_file("target.img", kLarge);
    fill_with_old_data(target, kLarge);
    const std::string kept = folder.file("kept"), after = folder.file("after");
    extract_range(target, {140 * kMiB, 141 * kMiB}, kept);
    const RunResult result =
        run_dupengine({"copy", "--json", "--yes", "--grow", "--protect", "140M+1M", source, target});
    EXPECT_EQ(result.status, 0) << result.err;
    const json swap = json::parse(result.out)["plan"]["grow"]["swap"]["to"];
    EXPECT_EQ(swap["end"], 140 * kMiB) << "it grows up to there";
    extract_range(target, {140 * kMiB, 141 * kMiB}, after);
    EXPECT_EQ(file_sha256(kept), file_sha256(after));
}

}  // namespace
}  // namespace dupengine::test
