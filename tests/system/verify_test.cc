// verify: what differs between a disk and its copy is named so that a person can go and look.

#include <fcntl.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "base/fd.h"
#include "tests/support/disk_image.h"
#include "tests/support/filesystems.h"
#include "tests/support/scratch.h"

namespace dupengine::test {
namespace {

using nlohmann::json;

constexpr std::uint64_t kSize = DiskImageRecipe{}.size_bytes;
constexpr const char* kNamedFile = "/etc/hostname";

struct Verdict {
    int status = 0;
    json report;
};

Verdict verify(const std::string& source, const std::string& target, std::vector<std::string> more = {}) {
    std::vector<std::string> arguments{test::command(),   "verify", "--json",
                                       "--progress=none", source,   target};
    arguments.insert(arguments.end(), more.begin(), more.end());
    const RunResult result = run_program(arguments);
    return {result.status, json::parse(result.out)};
}

struct Copied {
    ScratchFolder folder;
    DiskImage source = make_disk_image(folder, "source.img");
    std::string target = folder.sparse_file("target.img", kSize);
    Copied() { must_run({test::command(), "copy", "--yes", "--progress=none", source.path, target}); }
    void change(ByteOffset at) {
        const Fd fd = open_path(target, O_RDWR, Code::kInternal);
        std::byte byte{};
        pread_exact(fd.get(), at, {&byte, 1}, Code::kInternal, target);
        byte ^= std::byte{1};
        pwrite_exact(fd.get(), at, {&byte, 1}, Code::kInternal, target);
    }
};

TEST(Verify, ACopyIsACopyAndNeitherSideIsWritten) {
    const Copied c;
    const std::string before = file_sha256(c.source.path) + file_sha256(c.target);
    const Verdict verdict = verify(c.source.path, c.target, {"--all"});
    EXPECT_EQ(verdict.status, 0);
    EXPECT_EQ(verdict.report["result"], "same");
    EXPECT_EQ(verdict.report["notes"].dump().find("journal"), std::string::npos) << "that is for who copies";
    EXPECT_EQ(file_sha256(c.source.path) + file_sha256(c.target), before);
}

TEST(Verify, AChangedFileIsNamed) {
    Copied c;
    // Where the block of a file is, says debugfs.
    const std::string part = c.source.path + "?offset=" + std::to_string(c.source.root.begin);
    const std::string blocks = must_run({"debugfs", "-R", "blocks " + std::string(kNamedFile), part});
    const std::string root = c.folder.file("root.img");
    extract_range(c.source.path, c.source.root, root);
    c.change(c.source.root.begin + std::stoull(blocks) * dumpe2fs_number(root, "Block size") + 5);
    const Verdict verdict = verify(c.source.path, c.target);
    EXPECT_EQ(verdict.status, 6);
    EXPECT_EQ(verdict.report["result"], "different");
    ASSERT_EQ(verdict.report["partitions"].size(), 1u);
    const json& partition = verdict.report["partitions"][0];
    EXPECT_EQ(partition["filesystem"], "ext4");
    EXPECT_LE(partition["bytes_different"], 4096) << "a page, not more";
    const std::string files = partition["files"].dump();
    EXPECT_NE(files.find(kNamedFile), std::string::npos) << files;
    EXPECT_LE(partition["files"].size(), 4u) << "what shares the page with it at most";
}

TEST(Verify, AChangedTableAndOldDataInUnusedSpaceAreFound) {
    Copied c;
    c.change(512 + 60);
    c.change(kSize - kMiB);
    const Verdict verdict = verify(c.source.path, c.target, {"--all"});
    EXPECT_EQ(verdict.status, 6);
    EXPECT_EQ(verdict.report["boot_structures"].size(), 1u);
    EXPECT_EQ(verdict.report["not_zero"].size(), 1u);
    EXPECT_EQ(verify(c.source.path, c.target, {"--all", "--used"}).report["not_zero"].size(), 0u);
}

// Zeros that the source uses are data: where the target holds something else, samples are not enough.
TEST(Verify, AHoleOfTheSourceIsComparedAllOfIt) {
    const ScratchFolder folder;
    const std::string source = folder.sparse_file("source.img", kGiB),
                      target = folder.sparse_file("target.img", kGiB);
    for (const std::string& disk : {source, target})
        must_run({"sgdisk", "--disk-guid=d0b2e641-5c1f-4f0a-9d43-7a6b8c15e972", "--new=1:1M:0",
                  "--partition-guid=1:d0b2e641-5c1f-4f0a-9d43-7a6b8c15e973", disk});
    const LoopDevice device(target);  // which does not tell its holes
    EXPECT_EQ(verify(source, device.path()).report["result"], "same");
    const Fd fd = open_path(target, O_RDWR, Code::kInternal);
    pwrite_exact(fd.get(), 300 * kMiB + 4096 * 7, as_bytes("x"), Code::kInternal, target);
    const Verdict verdict = verify(source, device.path(), {"--used"});
    EXPECT_EQ(verdict.status, 6);
    EXPECT_EQ(verdict.report["partitions"].size(), 1u) << verdict.report.dump();
}

TEST(Verify, ATargetThatCannotBeACopyIsRefused) {
    const Copied c;
    must_run({"truncate", "--size=4M", c.target});
    EXPECT_EQ(verify(c.source.path, c.target).status, 3);
}

}  // namespace
}  // namespace dupengine::test
