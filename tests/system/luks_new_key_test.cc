// copy --luks-new-key-file: containers of others' making get a new volume key on the target, and only the new
// key opens them; held against QEMU (LUKS1) and cryptsetup (LUKS2).

#include <gmock/gmock.h>

#include <nlohmann/json.hpp>

#include "block/open.h"
#include "layout/partition_table.h"
#include "tests/support/lvm_disk.h"
#include "tests/system/luks_containers.h"

namespace dupengine::test {
namespace {

using nlohmann::json;
using testing::HasSubstr;
using testing::Not;

struct LuksNewKey : LuksContainers {
    void SetUp() override {
        LuksContainers::SetUp();
        write_file_atomic(new_key, as_bytes("battery staple"), 0600, Code::kInternal);
    }
    RunResult copy(std::vector<std::string> more) const {
        std::vector<std::string> arguments = {"copy", "--yes", "--json", "--luks-new-key-file", new_key};
        arguments.insert(arguments.end(), more.begin(), more.end());
        return run_dupengine(arguments);
    }
    RunResult verify(const std::string& source, const std::string& target) const {
        return run_dupengine(
            {"verify", "--luks-key-file", key, "--luks-new-key-file", new_key, source, target});
    }
    std::string volume_key(const std::string& container, const std::string& with) const {
        const std::string file = folder.file("volume key");
        must_run({"cryptsetup", "luksDump", "--batch-mode", "--disable-locks", "--dump-volume-key",
                  "--volume-key-file", file, "--key-file", with, container});
        std::string bytes = read_file(file, Code::kInternal);
        std::filesystem::remove(file);
        return bytes;
    }
    bool opens(const std::string& container, const std::string& with) const {
        return run_program({"cryptsetup", "open", "--test-passphrase", "--disable-locks", "--key-file", with,
                            container})
                   .status == 0;
    }
    // The byte may be anywhere in the payload that was copied.
    void expect_one_byte_found(const std::string& source, const std::string& target, ByteOffset at) const {
        const Fd fd = open_path(target, O_RDWR, Code::kInternal);
        Bytes byte(1);
        pread_exact(fd.get(), at, byte, Code::kInternal, target);
        byte[0] ^= std::byte{1};
        pwrite_exact(fd.get(), at, byte, Code::kInternal, target);
        EXPECT_EQ(verify(source, target).status, 6);
        byte[0] ^= std::byte{1};
        pwrite_exact(fd.get(), at, byte, Code::kInternal, target);
    }

    std::string new_key = folder.file("new key");
};

TEST_F(LuksNewKey, AVersion1ContainerHasTheSameFilesUnderAnotherKeyAndOnlyTheNewOneOpensIt) {
    const std::string source = make_luks1(), target = make_target(source), before = file_sha256(source);
    must_run({"chmod", "644", new_key});
    const RunResult copied = copy({"--luks-key-file", key, source, target});
    ASSERT_EQ(copied.status, 0) << copied.out << copied.err;
    EXPECT_LT(json::parse(copied.out)["bytes_used"], kInside * 3 / 4);
    EXPECT_THAT(copied.out, HasSubstr("gets a new volume key, and one key slot (pbkdf2)"));
    EXPECT_THAT(copied.out, HasSubstr("others may read this key"));
    EXPECT_THAT(copied.out, Not(HasSubstr("battery staple")));
    EXPECT_FALSE(file_contains(target, kOldText));
    EXPECT_EQ(file_sha256(source), before);
    expect_the_same_files(open_luks1(target, new_key));
    EXPECT_FALSE(opens(target, key));
    EXPECT_NE(volume_key(target, new_key), volume_key(source, key));
}

TEST_F(LuksNewKey, AVersion2ContainerOnAPartitionIsReportedComparedAndOpensWithTheNewKeyAlone) {
    // Beside it a partition that is none; and it moves, because the target is smaller.
    const std::string container = make_luks2("512"), source = folder.sparse_file("disk", 100 * kMiB),
                      target = folder.sparse_file("target.img", 90 * kMiB), report = folder.file("report");
    must_run({"sgdisk", "--new=1:1M:+4M", "--new=2:20M:+72M", source});
    must_run(
        {"dd", "if=" + container, "of=" + source, "bs=1M", "seek=20", "conv=notrunc,sparse", "status=none"});
    fill_with_old_data(target, 90 * kMiB);
    const RunResult copied = copy({"--shrink", "--report", report, "--luks-key-file", key, source, target});
    ASSERT_EQ(copied.status, 0) << copied.out << copied.err;
    EXPECT_FALSE(file_contains(target, kOldText));
    const auto disk = block::open_source(target);
    const block::Extent place = layout::read_partition_table(*disk).by_number(2)->extent;
    ASSERT_LT(place.begin, 20 * kMiB);
    const RunResult reported = run_dupengine({"verify", "--report", report, target});
    EXPECT_EQ(reported.status, 0) << reported.out;
    const RunResult verified = run_dupengine(
        {"verify", "--shrink", "--luks-key-file", key, "--luks-new-key-file", new_key, source, target});
    EXPECT_EQ(verified.status, 0) << verified.out << verified.err;
    const std::string copy = folder.file("copy");
    extract_range(target, place, copy);
    EXPECT_NE(volume_key(copy, new_key), volume_key(container, key));
    EXPECT_FALSE(opens(copy, key));
    open_luks2(copy, new_key);
    expect_the_same_files(copy);
}

TEST_F(LuksNewKey, OneByteThatDiffersBehindTheEncryptionIsFound) {
    const std::string source = make_luks2("4096"), target = make_target(source);
    const RunResult copied = copy({"--luks-key-file", key, source, target});
    ASSERT_EQ(copied.status, 0) << copied.out << copied.err;
    // The superblock of the filesystem lies at the beginning of the payload.
    expect_one_byte_found(source, target, 16 * kMiB + 1024);
}

TEST_F(LuksNewKey, WhatWouldKeepItsOldKeyIsRefusedBeforeTheFirstWrite) {
    const auto expect_refused = [&](std::vector<std::string> with, const std::string& source,
                                    const std::string& reason) {
        const std::string target = make_target(source), before = file_sha256(target);
        with.insert(with.end(), {source, target});
        const RunResult refused = copy(with);
        EXPECT_EQ(refused.status, 3) << reason;
        EXPECT_THAT(refused.out, HasSubstr(reason));
        EXPECT_EQ(file_sha256(target), before);
    };
    const std::string container = make_luks1();
    expect_refused({}, container, "give a key of it (--luks-key-file)");
    expect_refused({"--luks-key-file", wrong_key}, container, "no key that was given opens");
    expect_refused({"--luks-key-file", key}, filesystem, "there is no LUKS container");
    const std::string inside = folder.file("inside.img");
    must_run({"cp", container, inside});
    must_run({"truncate", "--size=48M", inside});
    const LvmDisk disk = make_lvm_disk(folder, "pv.img", inside);
    expect_refused({"--luks-key-file", key}, disk.path, "root: this LUKS1 container lies in something else");
}

}  // namespace
}  // namespace dupengine::test
