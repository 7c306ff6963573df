// verify with one disk: what it cannot read, what contradicts itself, and what is no longer what was copied.

#include <fcntl.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>

#include "base/fd.h"
#include "tests/support/disk_image.h"
#include "tests/support/faulty_disk.h"
#include "tests/support/filesystems.h"
#include "tests/support/scratch.h"

namespace dupengine::test {
namespace {

using nlohmann::json;

constexpr const char* kNamedFile = "/usr/bin/file-7";

void flip(const std::string& path, ByteOffset at) {
    const Fd fd = open_path(path, O_RDWR, Code::kInternal);
    std::byte byte{};
    pread_exact(fd.get(), at, {&byte, 1}, Code::kInternal, path);
    byte ^= std::byte{1};
    pwrite_exact(fd.get(), at, {&byte, 1}, Code::kInternal, path);
}

struct Verdict {
    int status = 0;
    json told;
};

Verdict verify(const std::string& disk, std::vector<std::string> more = {}) {
    more.insert(more.begin(), {"verify", "--json", "--progress=none", disk});
    const RunResult result = run_dupengine(more);
    return {result.status, json::parse(result.out)};
}

struct VerifyAlone : testing::Test {
    // Made once; every test has a copy.
    static void SetUpTestSuite() {
        made_in = std::make_unique<ScratchFolder>();
        made = make_disk_image(*made_in, "source.img");
    }
    static void TearDownTestSuite() { made_in.reset(); }
    VerifyAlone() {
        source.path = folder.file("source.img");
        must_run({"cp", "--sparse=always", made.path, source.path});
    }
    ByteOffset place_of_named_file() const {
        const std::string root = folder.file("root.img");
        extract_range(source.path, source.root, root);
        const std::string blocks = must_run({"debugfs", "-R", "blocks " + std::string(kNamedFile), root});
        return source.root.begin + std::stoull(blocks) * dumpe2fs_number(root, "Block size");
    }
    void copy_with_report() {
        must_run({test::command(), "copy", "--yes", "--progress=none", "--create", "--report", report,
                  source.path, target});
    }
    static inline std::unique_ptr<ScratchFolder> made_in;
    static inline DiskImage made;
    ScratchFolder folder;
    DiskImage source = made;
    std::string target = folder.file("target.img"), report = folder.file("report");
};

TEST_F(VerifyAlone, AWholeDiskIsSoundAndIsNotWritten) {
    const std::string before = file_sha256(source.path);
    const Verdict verdict = verify(source.path);
    EXPECT_EQ(verdict.status, 0) << verdict.told.dump();
    EXPECT_EQ(verdict.told["result"], "sound");
    EXPECT_GT(verdict.told["bytes_read"], 1000000);
    EXPECT_EQ(file_sha256(source.path), before);
}

TEST_F(VerifyAlone, AnUnreadableSectorIsToldByFile) {
    const FaultyDisk faulty(folder, source.path, {.sector = place_of_named_file() / 512, .on_read = true});
    const Verdict verdict = verify(faulty.path());
    EXPECT_EQ(verdict.status, 4);
    EXPECT_EQ(verdict.told["result"], "damaged");
    ASSERT_EQ(verdict.told["unreadable"].size(), 1u);
    EXPECT_EQ(verdict.told["unreadable"][0]["filesystem"], "ext4");
    EXPECT_NE(verdict.told["unreadable"][0]["files"].dump().find(kNamedFile), std::string::npos);
}

TEST_F(VerifyAlone, EitherCopyOfTheTableIsMissed) {
    const std::uint64_t size = std::filesystem::file_size(source.path);
    for (const auto& [at, word] : {std::pair{ByteOffset{512 + 60}, "primary"},
                                   {size - 512 + 60, "backup"},
                                   {ByteOffset{1024 + 40}, "primary"}}) {
        flip(source.path, at);
        const Verdict verdict = verify(source.path);
        EXPECT_EQ(verdict.status, 6) << at;
        EXPECT_NE(verdict.told["faults"].dump().find(word), std::string::npos) << verdict.told.dump();
        flip(source.path, at);
    }
    EXPECT_EQ(verify(source.path).status, 0);
}

TEST_F(VerifyAlone, AnUnfinishedCopyIsNoSoundDisk) {
    folder.sparse_file("target.img", std::filesystem::file_size(source.path));
    {
        const FaultyDisk faulty(folder, target,
                                {.sector = (source.root.begin + 4096) / 512, .on_write = true});
        EXPECT_EQ(run_dupengine({"copy", "--yes", "--progress=none", source.path, faulty.path()}).status, 5);
    }
    const Verdict verdict = verify(target);
    EXPECT_EQ(verdict.status, 6);
    EXPECT_NE(verdict.told["faults"].dump().find("has not finished"), std::string::npos);
}

TEST_F(VerifyAlone, ADamagedProfileIsAFault) {
    must_run({test::command(), "profile", "init", "--store", "partition:" + source.path, "--size", "2MiB",
              "--number", "9"});
    EXPECT_EQ(verify(source.path).status, 0) << verify(source.path).told.dump();
    const std::string entry = must_run({"sgdisk", "--info=9", source.path}), field = "First sector: ";
    flip(source.path, std::stoull(entry.substr(entry.find(field) + field.size())) * 512 + 50);
    const Verdict verdict = verify(source.path);
    EXPECT_EQ(verdict.status, 6);
    EXPECT_NE(verdict.told["faults"].dump().find("profile, slot 0"), std::string::npos)
        << verdict.told.dump();
}

TEST_F(VerifyAlone, TheReportOfACopyHoldsForBothSides) {
    copy_with_report();
    for (const std::string& disk : {source.path, target}) {
        const Verdict verdict = verify(disk, {"--report", report});
        EXPECT_EQ(verdict.status, 0) << verdict.told.dump();
    }
}

TEST_F(VerifyAlone, AFileThatIsNoLongerWhatWasCopiedIsNamed) {
    copy_with_report();
    flip(target, place_of_named_file() + 5);
    EXPECT_EQ(verify(target).status, 0) << "its table still agrees";
    const Verdict verdict = verify(target, {"--report", report});
    EXPECT_EQ(verdict.status, 6);
    ASSERT_EQ(verdict.told["different"].size(), 1u) << verdict.told.dump();
    EXPECT_EQ(verdict.told["different"][0]["partition"], 3);
    EXPECT_LE(verdict.told["different"][0]["bytes"], kMiB) << "a chunk, not more";
    EXPECT_NE(verdict.told["different"][0]["files"].dump().find(kNamedFile), std::string::npos);
    EXPECT_EQ(verify(source.path, {"--report", report}).status, 0);
}

TEST_F(VerifyAlone, ABootStructureOrAZeroThatIsNoLongerWhatWasCopiedIsFound) {
    copy_with_report();
    flip(target, 440);  // boot code or the disk's signature
    EXPECT_EQ(verify(target).status, 0);
    EXPECT_EQ(verify(target, {"--report", report}).status, 6);
    flip(target, 440);
    EXPECT_EQ(verify(target, {"--report", report}).status, 0);
}

TEST_F(VerifyAlone, AChangedOrCutReportProvesNothing) {
    copy_with_report();
    const std::uint64_t size = std::filesystem::file_size(report);
    flip(report, size / 2);
    EXPECT_EQ(verify(target, {"--report", report}).status, 6);
    flip(report, size / 2);
    must_run({"truncate", "--size", std::to_string(size - 100), report});
    const Verdict cut = verify(target, {"--report", report});
    EXPECT_EQ(cut.status, 6);
    EXPECT_NE(cut.told["error"]["message"].get<std::string>().find("report"), std::string::npos);
}

TEST_F(VerifyAlone, WhatNeedsASecondDiskIsNotPassedOverInSilence) {
    for (const char* option : {"--all", "--used", "--shrink", "--protect=1M+1M"})
        EXPECT_EQ(run_dupengine({"verify", option, source.path}).status, 2) << option;
}

TEST_F(VerifyAlone, AReportThatIsThereIsNotOverwrittenAndNothingIsCopied) {
    write_file_atomic(report, as_bytes("mine"), 0644, Code::kInternal);
    const RunResult refused = run_dupengine(
        {"copy", "--yes", "--progress=none", "--create", "--report", report, source.path, target});
    EXPECT_EQ(refused.status, 3) << refused.err;
    EXPECT_FALSE(std::filesystem::exists(target));
    EXPECT_EQ(read_file(report, Code::kInternal), "mine");
}

TEST_F(VerifyAlone, OfACopyThatFailsNoReportIsLeft) {
    folder.sparse_file("target.img", std::filesystem::file_size(source.path));
    const FaultyDisk faulty(folder, target, {.sector = (source.root.begin + 4096) / 512, .on_write = true});
    EXPECT_EQ(
        run_dupengine({"copy", "--yes", "--progress=none", "--report", report, source.path, faulty.path()})
            .status,
        5);
    EXPECT_FALSE(std::filesystem::exists(report));
}

}  // namespace
}  // namespace dupengine::test
