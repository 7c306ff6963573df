// LUKS containers that nobody has opened: written by others than us (QEMU: LUKS1; cryptsetup: LUKS2), copied
// with their key, and read again by others.

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "base/fd.h"
#include "tests/support/disk_image.h"
#include "tests/support/filesystems.h"

namespace dupengine::test {
namespace {

using nlohmann::json;
using testing::HasSubstr;

constexpr std::uint64_t kInside = 40 * kMiB;

struct Luks : testing::Test {
    void SetUp() override {
        write_key(key, 0600);
        write_file_atomic(wrong_key, as_bytes("incorrect horse"), 0600, Code::kInternal);
        // In the middle of the most that the filesystem does not use: small gaps are read with the rest.
        const auto free = look_at(filesystem).used.used.gaps_in({0, kInside});
        ASSERT_FALSE(free.empty());
        const auto most =
            *std::max_element(free.begin(), free.end(), [](auto a, auto b) { return a.size() < b.size(); });
        const Fd fd = open_path(filesystem, O_RDWR, Code::kInternal);
        pwrite_exact(fd.get(), most.begin + most.size() / 2, as_bytes(kDeletedText), Code::kInternal,
                     filesystem);
    }
    static void write_key(const std::string& path, unsigned mode) {
        write_file_atomic(path, as_bytes("correct horse"), mode, Code::kInternal);
    }

    std::string make_luks1() const {
        const std::string made = folder.file("luks1.img");
        must_run({"qemu-img", "convert", "-O", "luks", "--object", "secret,id=key,file=" + key, "-o",
                  "key-secret=key,iter-time=10", filesystem, made});
        return made;
    }
    // Encrypted where it lies: cryptsetup moves it behind the header and needs no device-mapper for that.
    std::string make_luks2(const std::string& sector_bytes) const {
        const std::string made = folder.file("luks2.img");
        must_run({"cp", filesystem, made});
        must_run({"truncate", "--size=+32M", made});
        must_run({"cryptsetup", "reencrypt", "--encrypt", "--batch-mode", "--type", "luks2",
                  "--disable-locks", "--reduce-device-size", "32M", "--sector-size", sector_bytes, "--pbkdf",
                  "pbkdf2", "--pbkdf-force-iterations", "1000", "--key-file", key, made});
        return made;
    }
    std::string make_target(const std::string& source) const {
        const std::uint64_t size = std::filesystem::file_size(source);
        std::string target = folder.sparse_file("target.img", size);
        fill_with_old_data(target, size);
        return target;
    }
    RunResult copy(const std::string& source, const std::string& target, const std::string& with) const {
        return run_dupengine({"copy", "--yes", "--json", "--luks-key-file", with, source, target});
    }
    void expect_the_same_files(const std::string& decrypted) const {
        const RunResult checked = run_program({"e2fsck", "-fn", decrypted});
        EXPECT_EQ(checked.status, 0) << checked.out;
        EXPECT_EQ(ext_tree_digest(folder, decrypted), ext_tree_digest(folder, filesystem));
        EXPECT_FALSE(file_contains(decrypted, kDeletedText));
    }

    ScratchFolder folder;
    std::string key = folder.file("key"), wrong_key = folder.file("wrong key");
    std::string filesystem = make_ext(folder, "filesystem.img", kInside, {"-t", "ext4", "-b", "4096"},
                                      make_tree(folder, "tree", 1));
};

TEST_F(Luks, OfAVersion1ContainerOnlyWhatIsUsedIsCopiedAndItOpensWithItsOldKey) {
    const std::string source = make_luks1(), target = make_target(source), opened = folder.file("opened.img");
    const RunResult copied = copy(source, target, key);
    ASSERT_EQ(copied.status, 0) << copied.out << copied.err;
    EXPECT_LT(json::parse(copied.out)["bytes_used"], kInside * 3 / 4);
    EXPECT_THAT(json::parse(copied.out)["notes"].dump(), HasSubstr("LUKS1, opened with the key"));
    EXPECT_FALSE(file_contains(target, kOldText));
    must_run({"qemu-img", "convert", "--object", "secret,id=key,file=" + key, "--image-opts",
              "driver=luks,key-secret=key,file.filename=" + target, "-O", "raw", opened});
    expect_the_same_files(opened);
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
        // cryptsetup, once more, gives the filesystem back: what was decrypted lies in front again.
        must_run({"cryptsetup", "reencrypt", "--decrypt", "--batch-mode", "--disable-locks",
                  "--force-offline-reencrypt", "--key-file", key, "--header", folder.file("exported"),
                  target});
        must_run({"truncate", "--size", std::to_string(kInside), target});
        expect_the_same_files(target);
        std::filesystem::remove(folder.file("exported"));
    }
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
