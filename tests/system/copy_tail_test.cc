// What lies behind a filesystem's end belongs to somebody too: a RAID superblock, a LUKS footer, appended
// data.

#include <fcntl.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "base/fd.h"
#include "tests/support/disk_image.h"

namespace dupengine {
namespace {

using nlohmann::json;
using test::must_run;
using test::ScratchFolder;

constexpr const char* kFooter = "A FOOTER BEHIND THE FILESYSTEM THAT SOMEBODY NEEDS";

void put_footer(const std::string& path, ByteOffset at) {
    const Fd fd = open_path(path, O_RDWR, Code::kInternal);
    pwrite_exact(fd.get(), at, as_bytes(kFooter), Code::kInternal, path);
}

bool has_footer_at(const ScratchFolder& folder, const std::string& path, ByteOffset at) {
    const std::string part = folder.file("footer");
    test::extract_range(path, {at, at + 512}, part);
    return test::file_contains(part, kFooter);
}

// One partition of 24 MiB from 1 MiB on, with an ext4 of 16 MiB in it.
std::string disk_with_small_filesystem(const ScratchFolder& folder) {
    const std::string disk = folder.sparse_file("source.img", 32 << 20);
    must_run({"sgdisk", "--new=1:1M:+24M", disk});
    must_run({"mke2fs", "-q", "-F", "-t", "ext4", "-E", fmt::format("offset={}", kMiB), disk, "16M"});
    return disk;
}

json copy(const std::vector<std::string>& arguments) {
    std::vector<std::string> all = {"copy", "--json", "--yes"};
    all.insert(all.end(), arguments.begin(), arguments.end());
    const RunResult result = test::run_dupengine(all);
    EXPECT_EQ(result.status, 0) << result.err;
    return json::parse(result.out);
}

TEST(CopyBehindAFilesystem, WhatSomebodyPutThereArrives) {
    const ScratchFolder folder;
    const std::string source = disk_with_small_filesystem(folder);
    const std::vector<ByteOffset> places = {17 * kMiB, 21 * kMiB + 512, 25 * kMiB - 64 * kKiB,
                                            25 * kMiB - 512};
    for (ByteOffset at : places)
        put_footer(source, at);
    const std::string target = folder.sparse_file("target.img", 48 << 20);
    test::fill_with_old_data(target, 48 << 20);
    const json report = copy({source, target});
    for (ByteOffset at : places)
        EXPECT_TRUE(has_footer_at(folder, target, at)) << "lost: the bytes at " << at;
    EXPECT_FALSE(test::file_contains(target, test::kOldText));
    EXPECT_NE(report["notes"].dump().find("behind its filesystem are copied, too"), std::string::npos);
}

TEST(CopyBehindAFilesystem, GrowingDoesNotRunOverIt) {
    const ScratchFolder folder;
    const std::string source = disk_with_small_filesystem(folder);
    const std::string target = folder.sparse_file("target.img", 48 << 20);
    EXPECT_TRUE(copy({source, target, "--grow"})["plan"].contains("grow")) << "zeros are in nobody's way";
    put_footer(source, 25 * kMiB - 64 * kKiB);
    const json report = copy({source, target, "--grow"});
    EXPECT_FALSE(report["plan"].contains("grow"));
    EXPECT_NE(report["notes"].dump().find("holds data behind its filesystem"), std::string::npos);
    EXPECT_TRUE(has_footer_at(folder, target, 25 * kMiB - 64 * kKiB));
}

TEST(CopyBehindAFilesystem, OfAWholeDiskItArrivesOrTheSmallerTargetIsRefused) {
    const ScratchFolder folder;
    const std::string source = folder.sparse_file("source.img", 32 << 20);
    must_run({"mke2fs", "-q", "-F", "-t", "ext4", source, "16M"});
    const std::string smaller = folder.sparse_file("smaller.img", 24 << 20);
    EXPECT_EQ(copy({source, smaller})["result"], "verified") << "zeros behind the end are no loss";
    put_footer(source, (32 << 20) - 512);
    const std::string same = folder.sparse_file("same.img", 32 << 20);
    copy({source, same});
    EXPECT_EQ(run_program({"cmp", source, same}).status, 0);
    const std::string larger = folder.sparse_file("larger.img", 48 << 20);
    const json grown = copy({source, larger, "--grow"});
    EXPECT_FALSE(grown["plan"].contains("grow"));
    EXPECT_TRUE(has_footer_at(folder, larger, (32 << 20) - 512));
    const std::string before = test::file_sha256(smaller);
    const RunResult refused = test::run_dupengine({"copy", "--yes", source, smaller});
    EXPECT_EQ(refused.status, 3) << refused.err;
    EXPECT_NE(refused.err.find("data behind its filesystem"), std::string::npos) << refused.err;
    EXPECT_EQ(test::file_sha256(smaller), before);
}

}  // namespace
}  // namespace dupengine
