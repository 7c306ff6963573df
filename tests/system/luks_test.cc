// LUKS containers that nobody has opened: written by others than us (QEMU: LUKS1; cryptsetup: LUKS2), copied
// with their key, and read again by others.

#include <gmock/gmock.h>

#include <nlohmann/json.hpp>

#include "tests/support/lvm_disk.h"
#include "tests/system/luks_containers.h"

namespace dupengine::test {
namespace {

using nlohmann::json;
using testing::HasSubstr;

struct Luks : LuksContainers {
    RunResult copy(const std::string& source, const std::string& target, const std::string& with) const {
        return run_dupengine({"copy", "--yes", "--json", "--luks-key-file", with, source, target});
    }
};

TEST_F(Luks, OfAVersion1ContainerOnlyWhatIsUsedIsCopiedAndItOpensWithItsOldKey) {
    const std::string source = make_luks1(), target = make_target(source);
    const RunResult copied = copy(source, target, key);
    ASSERT_EQ(copied.status, 0) << copied.out << copied.err;
    EXPECT_LT(json::parse(copied.out)["bytes_used"], kInside * 3 / 4);
    EXPECT_THAT(json::parse(copied.out)["notes"].dump(), HasSubstr("LUKS1, opened with the key"));
    EXPECT_FALSE(file_contains(target, kOldText));
    expect_the_same_files(open_luks1(target, key));
    const RunResult verified = run_dupengine({"verify", "--luks-key-file", key, source, target});
    EXPECT_EQ(verified.status, 0) << verified.out << verified.err;
}

TEST_F(Luks, OfAVersion2ContainerOnlyWhatIsUsedIsCopiedAndItOpensWithItsOldKey) {
    for (const char* sector_bytes : {"512", "4096"}) {
        const std::string source = make_luks2(sector_bytes), target = make_target(source);
        const RunResult copied = copy(source, target, key);
        ASSERT_EQ(copied.status, 0) << copied.out << copied.err;
        const json report = json::parse(copied.out);
        EXPECT_THAT(report["notes"].dump(), HasSubstr("LUKS2, opened with the key")) << sector_bytes;
        // The header's 16 MiB, what is used, and the 16 MiB behind the filesystem.
        EXPECT_LT(report["bytes_used"], 32 * kMiB + kInside * 3 / 4);
        EXPECT_FALSE(file_contains(target, kOldText));
        open_luks2(target, key);
        expect_the_same_files(target);
    }
}

TEST_F(Luks, OneOnALogicalVolumeIsLookedIntoAsWell) {
    const std::string inside = make_luks1();
    must_run({"truncate", "--size=48M", inside});
    const LvmDisk disk = make_lvm_disk(folder, "pv.img", inside);
    const std::string target = make_target(disk.path), volume = folder.file("volume.img");
    const RunResult copied = copy(disk.path, target, key);
    ASSERT_EQ(copied.status, 0) << copied.out << copied.err;
    EXPECT_THAT(json::parse(copied.out)["notes"].dump(), HasSubstr("root (crypto_LUKS)"));
    EXPECT_LT(json::parse(copied.out)["bytes_used"], disk.raw.size() + 40 * kMiB);
    for (const block::Extent place : disk.root) {
        extract_range(target, place, folder.file("piece.img"));
        must_run({"sh", "-c", "cat " + folder.file("piece.img") + " >>" + volume});
    }
    const std::string opened = open_luks1(volume, key);
    must_run({"truncate", "--size", std::to_string(kInside), opened});
    expect_the_same_files(opened);
}

TEST_F(Luks, AWrongKeyIsRefusedBeforeTheFirstWrite) {
    const std::string source = make_luks1(), target = make_target(source);
    const std::string before = file_sha256(target), source_before = file_sha256(source);
    const RunResult refused = copy(source, target, wrong_key);
    EXPECT_EQ(refused.status, 3);
    EXPECT_THAT(refused.out, HasSubstr("no key that was given opens this LUKS1 container"));
    EXPECT_EQ(file_sha256(target), before);
    EXPECT_EQ(file_sha256(source), source_before);
    EXPECT_EQ(copy(source, target, folder.file("no such key")).status, 3);
    EXPECT_EQ(file_sha256(target), before);
}

TEST_F(Luks, WithoutAKeyItIsCopiedWholeAndThePlanSaysSo) {
    const std::string source = make_luks1(), target = make_target(source);
    const RunResult copied = run_dupengine({"copy", "--yes", source, target});
    ASSERT_EQ(copied.status, 0) << copied.err;
    EXPECT_THAT(copied.out, HasSubstr("LUKS1, closed"));
    EXPECT_EQ(run_program({"cmp", source, target}).status, 0);
}

TEST_F(Luks, AKeyThatOthersMayReadIsNoted) {
    const std::string source = make_luks1(), target = make_target(source), loose = folder.file("loose");
    write_key(loose, 0644);
    const RunResult planned = run_dupengine({"copy", "--dry-run", "--luks-key-file", loose, source, target});
    ASSERT_EQ(planned.status, 0) << planned.err;
    EXPECT_THAT(planned.out, HasSubstr("others may read this key"));
    EXPECT_THAT(planned.out, testing::Not(HasSubstr("correct horse")));
}

}  // namespace
}  // namespace dupengine::test
