// Every way of asking for a target that must not be written: exit 3, and not one byte of it changes.

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <filesystem>
#include <functional>

#include "base/fd.h"
#include "base/random.h"
#include "tests/support/disk_image.h"
#include "tests/support/paths.h"

namespace dupengine {
namespace {

using test::LoopDevice;
using test::must_run;
using test::ScratchFolder;

constexpr std::uint64_t kSize = 24 << 20;

// A source of no particular kind, and a target with a filesystem that can be mounted.
struct Refusals : testing::Test {
    ScratchFolder folder;
    std::string source = folder.sparse_file("source.img", 8 << 20);
    std::string target = folder.sparse_file("target.img", kSize);

    void SetUp() override {
        must_run({"sh", "-c", "yes 'neither table nor filesystem' | head -c 8M > \"$1\"", "sh", source});
        must_run({"mke2fs", "-q", "-F", "-t", "ext4", target});
    }

    // `path` is how the target is named on the command line; `watched` are the bytes that must stay.
    void expect_refusal(const std::string& from, const std::string& path, const std::string& reason,
                        const std::string& watched, const std::vector<std::string>& more = {}) {
        expect_refusal(
            from, path, reason, [&] { return test::file_sha256(watched); }, more);
    }
    void expect_refusal(const std::string& from, const std::string& path, const std::string& reason,
                        const std::function<std::string()>& watched_bytes,
                        const std::vector<std::string>& more = {}) {
        const std::string before = watched_bytes();
        std::vector<std::string> arguments = {"copy", "--yes", from, path};
        arguments.insert(arguments.end(), more.begin(), more.end());
        const RunResult result = test::run_dupengine(arguments);
        EXPECT_EQ(result.status, 3) << result.err;
        EXPECT_NE(result.err.find(reason), std::string::npos) << "does not say why: " << result.err;
        EXPECT_EQ(std::count(result.err.begin(), result.err.end(), '\n'), 1)
            << "more than one line: " << result.err;
        EXPECT_EQ(watched_bytes(), before) << "the target was written";
    }
};

class Mounted {
  public:
    Mounted(const std::string& device, std::string at, const std::string& options = "rw")
        : at_(std::move(at)) {
        std::filesystem::create_directories(at_);
        must_run({"mount", "-o", options, device, at_});
    }
    ~Mounted() { run_program({"umount", at_}); }
    Mounted(const Mounted&) = delete;
    Mounted& operator=(const Mounted&) = delete;

  private:
    std::string at_;
};

TEST_F(Refusals, AMountedTargetByItsOwnName) {
    const LoopDevice loop(target);
    const Mounted mounted(loop.path(), folder.file("mnt"), "ro,noload");
    expect_refusal(source, loop.path(), "mounted on", target);
}

TEST_F(Refusals, AMountedTargetByAnotherName) {
    const LoopDevice loop(target);
    const Mounted mounted(loop.path(), folder.file("mnt"), "ro,noload");
    struct stat st {};
    ASSERT_EQ(::stat(loop.path().c_str(), &st), 0);
    // Device nodes work on devtmpfs; a scratch folder may be mounted nodev.
    const std::string node = fmt::format("/dev/dupengine-test-{}", ::getpid());
    ASSERT_EQ(::mknod(node.c_str(), S_IFBLK | 0600, st.st_rdev), 0);
    expect_refusal(source, node, "mounted on", target);
    ::unlink(node.c_str());
    std::filesystem::create_symlink(loop.path(), folder.file("link"));
    expect_refusal(source, folder.file("link"), "mounted on", target);
}

TEST_F(Refusals, ATargetMountedInAnotherMountNamespace) {
    const LoopDevice loop(target);
    const std::string at = folder.file("mnt"), ready = folder.file("ready");
    std::filesystem::create_directories(at);
    must_run(
        {"sh", "-c",
         "setsid unshare --mount sh -c 'mount -o ro,noload \"$0\" \"$1\" && touch \"$2\" && exec sleep 300' "
         "\"$1\" \"$2\" \"$3\" >/dev/null 2>&1 & echo $! > \"$4\"; "
         "for i in $(seq 2400); do [ -e \"$3\" ] && exit 0; sleep 0.05; done; exit 1",
         "sh", loop.path(), at, ready, folder.file("pid")});
    expect_refusal(source, loop.path(), "mounted on", target);
    must_run({"sh", "-c", "kill $(cat \"$1\")", "sh", folder.file("pid")});
}

TEST_F(Refusals, ATargetThatALoopDeviceStandsOn) {
    const LoopDevice loop(target);
    expect_refusal(source, target, "backs", target);
}

// The kernel itself may write there, but only into the pages behind the header: the smallest area has nine.
TEST_F(Refusals, ATargetUsedAsSwap) {
    constexpr std::size_t kPage = 4096, kArea = 10 * kPage;
    must_run({"mkswap", "-q", target, std::to_string(kArea / 1024)});
    const LoopDevice loop(target);
    must_run({"swapon", loop.path()});
    expect_refusal(source, loop.path(), "swap", [&] {
        std::string bytes = read_file(target, Code::kInternal, kSize);
        return std::to_string(std::hash<std::string>()(bytes.erase(kPage, kArea - kPage)));
    });
    must_run({"swapoff", loop.path()});
}

TEST_F(Refusals, SourceAndTargetBeingTheSameByAnyPath) {
    expect_refusal(target, target, "same storage", target);
    std::filesystem::create_symlink(target, folder.file("link"));
    expect_refusal(folder.file("link"), target, "same storage", target);
    std::filesystem::create_hard_link(target, folder.file("hard"));
    expect_refusal(target, folder.file("hard"), "same storage", target);
    const LoopDevice loop(target);
    expect_refusal(target, loop.path(), "same storage", target);
    expect_refusal(loop.path(), target, "same storage", target);
}

TEST_F(Refusals, ATargetThatIsTooSmallByOneSector) {
    const std::string small = folder.sparse_file("small.img", (8 << 20) - 512);
    expect_refusal(source, small, "too small", small);
    const test::DiskImage disk = test::make_disk_image(folder, "disk.img");
    const std::uint64_t least = disk.root.end + 33 * 512;
    expect_refusal(disk.path, folder.sparse_file("less.img", least - 512), "too small",
                   folder.file("less.img"));
    EXPECT_EQ(
        test::run_dupengine({"copy", "--yes", disk.path, folder.sparse_file("least.img", least)}).status, 0);
}

TEST_F(Refusals, AReadOnlyTarget) {
    const LoopDevice loop(target, LoopDevice::Options{.read_only = true});
    expect_refusal(source, loop.path(), "is set read-only", target);
    expect_refusal(source, loop.path(), "is set read-only", target, {"--dry-run"});
}

TEST_F(Refusals, WhatIsNotADiskAtAll) {
    expect_refusal(source, folder.path(), "a directory", target);
    expect_refusal(source, "/dev/null", "a character device", target);
    expect_refusal(source, folder.file("missing"), "No such file", target);
    EXPECT_FALSE(std::filesystem::exists(folder.file("missing"))) << "a missing target was created";
}

TEST_F(Refusals, AMistypedDeviceNeverBecomesAFile) {
    const std::string typo = fmt::format("/dev/dupengine-typo-{}", ::getpid());
    expect_refusal(source, typo, "No such file", target);
    expect_refusal(source, typo, "no file is ever made below /dev", target, {"--create"});
    EXPECT_FALSE(std::filesystem::exists(typo));
}

TEST_F(Refusals, ASourceThatIsMounted) {
    const LoopDevice loop(target);
    const Mounted mounted(loop.path(), folder.file("mnt"), "ro,noload");
    const std::string other = folder.sparse_file("other.img", kSize);
    expect_refusal(loop.path(), other, "is in use", other);
    EXPECT_EQ(test::run_dupengine({"copy", "--yes", "--busy-source", loop.path(), other}).status, 0);
}

TEST_F(Refusals, AProfileThatWouldBeOverlapped) {
    const test::DiskImage disk = test::make_disk_image(folder, "disk.img");
    const std::string other = folder.sparse_file("other.img", 128 << 20);
    must_run({"sgdisk", "--clear", "--new=128:100M:+4M",
              "--typecode=128:d0b2e641-5c1f-4f0a-9d43-7a6b8c15e972", other});
    // The source's root ends at 92 MiB: around 100 MiB it fits, and a profile at 80 MiB is in its way.
    EXPECT_EQ(test::run_dupengine({"copy", "--yes", "--dry-run", disk.path, other}).status, 0);
    must_run({"sgdisk", "--clear", "--new=128:80M:+4M", "--typecode=128:d0b2e641-5c1f-4f0a-9d43-7a6b8c15e972",
              other});
    expect_refusal(disk.path, other, "would lie on profile", other);
}

TEST_F(Refusals, NoRightToOpenIt) {
    std::filesystem::permissions(folder.path(), std::filesystem::perms(0755));
    std::filesystem::permissions(target, std::filesystem::perms(0600));
    const std::string before = test::file_sha256(target);
    const RunResult result = run_program({"setpriv", "--reuid=65534", "--regid=65534", "--clear-groups",
                                          test::command(), "copy", "--yes", source, target});
    EXPECT_EQ(result.status, 3) << result.err;
    EXPECT_NE(result.err.find("Permission denied"), std::string::npos) << result.err;
    EXPECT_EQ(test::file_sha256(target), before);
}

TEST_F(Refusals, WithoutATerminalNothingIsAssumed) {
    const std::string before = test::file_sha256(target);
    const RunResult result = test::run_dupengine({"copy", source, target}, {.input = "yes\n"});
    EXPECT_EQ(result.status, 3) << result.err;
    EXPECT_NE(result.err.find("--yes"), std::string::npos) << result.err;
    EXPECT_EQ(test::file_sha256(target), before);
}

TEST_F(Refusals, WordsThatCannotBeMeantAreAUsageError) {
    for (const std::vector<std::string>& arguments : {std::vector<std::string>{"copy", source},
                                                      {"copy", "--unused=burn", source, target},
                                                      {"coppy", source, target},
                                                      {}})
        EXPECT_EQ(test::run_dupengine(arguments).status, 2);
}

}  // namespace
}  // namespace dupengine
