// Disks in somebody else's form, as sources.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "tests/support/disk_image.h"

namespace dupengine {
namespace {

using ::testing::HasSubstr;

class ForeignSource : public testing::Test {
  protected:
    ForeignSource() { source_ = test::make_disk_image(scratch_, "source.img"); }

    RunResult copy(const std::string& from, const std::vector<std::string>& more = {}) {
        std::vector<std::string> arguments = {"copy", "--yes", "--create", from, target_};
        arguments.insert(arguments.end(), more.begin(), more.end());
        return test::run_dupengine(arguments);
    }
    std::string qcow2(const std::vector<std::string>& more = {}) {
        std::vector<std::string> argv = {"qemu-img", "convert", "-f", "raw", "-O", "qcow2"};
        argv.insert(argv.end(), more.begin(), more.end());
        const std::string path = scratch_.file("disk.qcow2");
        argv.insert(argv.end(), {source_.path, path});
        test::must_run(argv);
        return path;
    }
    void expect_same() {
        const RunResult result = test::run_dupengine({"verify", source_.path, target_});
        EXPECT_EQ(result.status, 0) << result.out << result.err;
        std::filesystem::remove(target_);
    }

    test::ScratchFolder scratch_;
    test::DiskImage source_;
    std::string target_ = scratch_.file("target.img");
};

TEST_F(ForeignSource, CompressedDisksBecomeTheDisk) {
    for (const char* program : {"gzip", "xz -T1 -0", "zstd -q", "bzip2"}) {
        const std::string packed = scratch_.file("named.anyhow");
        test::must_run({"sh", "-c", fmt::format("{} -c {} >{}", program, source_.path, packed)});
        const RunResult copied = copy(packed);
        EXPECT_EQ(copied.status, 0) << program << ": " << copied.err;
        EXPECT_THAT(copied.out, HasSubstr("unpacked")) << program;
        expect_same();
    }
}

TEST_F(ForeignSource, ACompressedDiskThatIsCutIsRefusedBeforeTheFirstWrite) {
    const std::string packed = scratch_.file("disk.gz");
    test::must_run({"sh", "-c", fmt::format("gzip -1 -c {} | head -c 400000 >{}", source_.path, packed)});
    test::fill_with_old_data(target_, 96 << 20);
    const std::string before = test::file_sha256(target_);
    EXPECT_EQ(copy(packed).status, 4);
    EXPECT_EQ(test::file_sha256(target_), before);
}

TEST_F(ForeignSource, NoRoomToUnpackIsToldAndRefused) {
    const std::string packed = scratch_.file("disk.gz");
    test::must_run({"sh", "-c", fmt::format("gzip -1 -c {} >{}", source_.path, packed)});
    const std::string small = scratch_.file("small");
    std::filesystem::create_directory(small);
    test::must_run({"mount", "-t", "tmpfs", "-o", "size=256K", "tmpfs", small});
    const RunResult result = run_program(
        {"env", "TMPDIR=" + small, test::command(), "copy", "--yes", "--create", packed, target_});
    run_program({"umount", small});
    EXPECT_EQ(result.status, 3) << result.err;
    EXPECT_THAT(result.err, HasSubstr("TMPDIR"));
    EXPECT_FALSE(std::filesystem::exists(target_));
}

TEST_F(ForeignSource, Qcow2BecomesTheDiskAndNoProgramStays) {
    for (const std::vector<std::string>& options : {std::vector<std::string>{},
                                                    {"-c"},
                                                    {"-o", "compat=0.10"},
                                                    {"-o", "extended_l2=on"},
                                                    {"-o", "compression_type=zstd", "-c"}}) {
        const std::string disk = qcow2(options);
        const RunResult copied = copy(disk);
        EXPECT_EQ(copied.status, 0) << copied.err;
        EXPECT_THAT(copied.out, HasSubstr("qcow2"));
        expect_same();
    }
    const std::string disk = qcow2();
    EXPECT_THAT(test::run_dupengine({"inspect", disk}).out, HasSubstr("ext4"));
    ASSERT_EQ(copy(disk).status, 0);
    EXPECT_EQ(test::run_dupengine({"verify", disk, target_}).status, 0);
    EXPECT_NE(run_program({"pgrep", "-f", "qemu-nbd.*" + scratch_.path()}).status, 0) << "qemu-nbd goes on";
    std::filesystem::remove(target_);
    EXPECT_EQ(copy(disk, {"--source-format=compressed"}).status, 3);
    EXPECT_EQ(copy(disk, {"--source-format=raw"}).status, 0) << "its own bytes";
    EXPECT_EQ(test::run_dupengine({"verify", "--source-format=raw", disk, target_}).status, 0);
}

TEST_F(ForeignSource, Qcow2ThatNamesAnotherFileReadsNothingOfIt) {
    const std::string secret = scratch_.file("secret"), disk = scratch_.file("evil.qcow2");
    std::ofstream(secret) << std::string(1 << 20, 'S');
    const std::string data = scratch_.file("data");
    const std::vector<std::vector<std::string>> traps = {
        {"qemu-img", "create", "-q", "-f", "qcow2", "-b", secret, "-F", "raw", disk},
        {"qemu-img", "create", "-q", "-f", "qcow2", "-b", "/etc/passwd", "-F", "raw", disk, "1M"},
        {"qemu-img", "create", "-q", "-f", "qcow2", "-o", "data_file=" + data + ",data_file_raw=on", disk,
         "1M"}};
    for (const auto& trap : traps) {
        std::filesystem::remove(disk);
        test::must_run(trap);
        const RunResult result = copy(disk);
        EXPECT_EQ(result.status, 3) << result.err;
        EXPECT_FALSE(std::filesystem::exists(target_));
        EXPECT_EQ(test::run_dupengine({"inspect", disk}).status, 3);
    }
}

TEST_F(ForeignSource, DamagedQcow2IsRefused) {
    const std::string disk = qcow2();
    for (const auto part : {4, 3, 2, 1}) {
        std::filesystem::resize_file(disk, std::filesystem::file_size(disk) * part / (part + 1));
        const RunResult result = copy(disk);
        EXPECT_EQ(result.status, 4) << result.err;
    }
    {
        std::fstream file(disk, std::ios::in | std::ios::out | std::ios::binary);
        file.seekp(24);
        file.write("\x7f\xff\xff\xff\xff\xff\xff\xff", 8);  // its size
    }
    EXPECT_EQ(copy(disk).status, 4);
    EXPECT_FALSE(std::filesystem::exists(target_));
}

TEST_F(ForeignSource, WithoutItsProgramQcow2IsUnsupported) {
    const std::string disk = qcow2();
    const RunResult result = run_program({"unshare", "-m", "sh", "-c",
                                          "mount --bind /dev/null \"$(command -v qemu-nbd)\" && exec \"$@\"",
                                          "-", test::command(), "copy", "--yes", "--create", disk, target_});
    EXPECT_EQ(result.status, 9) << result.err;
    EXPECT_THAT(result.err, HasSubstr("qemu-utils"));
}

TEST_F(ForeignSource, IsCapturedLikeAnyOther) {
    const std::string disk = qcow2(), tar = scratch_.file("image.tar");
    ASSERT_EQ(test::run_dupengine({"copy", disk, "image:" + tar}).status, 0);
    ASSERT_EQ(copy("image:" + tar, {"--insecure"}).status, 0);
    expect_same();
}

}  // namespace
}  // namespace dupengine
