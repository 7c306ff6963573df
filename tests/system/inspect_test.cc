// dupengine inspect on real disks and images: what it says is what the usual tools say, and nothing is
// changed.

#include <gmock/gmock.h>
#include <sys/mount.h>

#include <algorithm>
#include <cctype>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "base/bytes.h"
#include "base/fd.h"
#include "tests/support/scratch.h"

namespace dupengine {
namespace {

using test::LoopDevice;
using test::must_run;
using test::run_dupengine;
using ::testing::HasSubstr;
using ::testing::Not;
using Json = nlohmann::json;

// A GPT disk image: FAT, ext4, a profile partition at the end.
class InspectSystem : public ::testing::Test {
  protected:
    InspectSystem() : image_(scratch_.sparse_file("golden.img", 128 * kMiB)) {
        RunOptions layout;
        layout.input =
            "label: gpt\n"
            "size=16M, type=U, name=esp\n"
            "size=64M, type=L, name=root\n"
            "start=253952, size=4096, type=d0b2e641-5c1f-4f0a-9d43-7a6b8c15e972, name=dupengine-profile\n";
        must_run({"sfdisk", "--quiet", image_}, layout);
        const LoopDevice efi(image_, part(kMiB, 16 * kMiB)), root(image_, part(17 * kMiB, 64 * kMiB));
        must_run({"mkfs.vfat", "-n", "EFI", efi.path()});
        must_run({"mkfs.ext4", "-q", "-L", "rootfs", "-U", kUuid, root.path()});
    }
    static LoopDevice::Options part(std::uint64_t offset, std::uint64_t size) {
        LoopDevice::Options options;
        options.offset_bytes = offset;
        options.size_bytes = size;
        return options;
    }
    Json inspect_json(const std::string& path) const {
        return Json::parse(must_run({test::command(), "inspect", "--json", path}));
    }
    void damage(std::uint64_t sector) const {
        must_run({"dd", "if=/dev/zero", "of=" + image_, "bs=512", "count=1", "conv=notrunc",
                  "seek=" + std::to_string(sector)});
    }

    static constexpr const char* kUuid = "11111111-2222-4333-8444-555555555555";
    test::ScratchFolder scratch_;
    std::string image_;
};

TEST_F(InspectSystem, JsonAgreesWithSfdiskAndChangesNothing) {
    const std::string before = test::file_sha256(image_);
    const Json ours = inspect_json(image_),
               theirs = Json::parse(must_run({"sfdisk", "--json", image_}))["partitiontable"];
    EXPECT_EQ(test::file_sha256(image_), before);
    EXPECT_EQ(ours["table"]["kind"], theirs["label"]);
    ASSERT_EQ(ours["partitions"].size(), theirs["partitions"].size());
    for (std::size_t i = 0; i < ours["partitions"].size(); ++i) {
        const Json &one = ours["partitions"][i], &other = theirs["partitions"][i];
        EXPECT_EQ(one["begin"], other["start"].get<std::uint64_t>() * 512);
        EXPECT_EQ(one["size_bytes"], other["size"].get<std::uint64_t>() * 512);
        EXPECT_EQ(one["name"], other["name"]);
        std::string guid = other["uuid"];
        std::transform(guid.begin(), guid.end(), guid.begin(),
                       [](unsigned char c) { return std::tolower(c); });
        EXPECT_EQ(one["guid"], guid);
    }
    EXPECT_EQ(ours["partitions"][1]["filesystem"]["uuid"], kUuid);
    EXPECT_EQ(ours["partitions"][1]["filesystem"]["label"], "rootfs");
    EXPECT_EQ(ours["partitions"][2]["protected"], "profile");
    EXPECT_FALSE(ours["partitions"][1]["used"]["whole"]);
    EXPECT_LT(ours["partitions"][1]["used"]["bytes"], 64 * kMiB);
    EXPECT_GT(ours["partitions"][1]["used"]["bytes"], 0u);
}

TEST_F(InspectSystem, APersonSeesThePartitionsAndWhatIsProtected) {
    const RunResult result = run_dupengine({"inspect", image_});
    EXPECT_EQ(result.status, 0);
    for (const char* text : {"128 MiB", "rootfs", "ext4", "vfat", kUuid, "protected (profile)", "free"})
        EXPECT_THAT(result.out, HasSubstr(text));
    EXPECT_THAT(result.out, Not(HasSubstr("in use"))) << "the test's own loop devices are gone";
    EXPECT_TRUE(std::all_of(result.out.begin(), result.out.end(), [](char c) {
        return c == '\n' || (c >= ' ' && c <= '~');
    })) << "nothing but ASCII where the locale is C";
}

TEST_F(InspectSystem, BoxesAreDrawnWhereTheLocaleIsUtf8) {
    // The runner sets LC_ALL=C for its children; env(1) sets it anew.
    const std::string text = must_run({"env", "LC_ALL=C.UTF-8", test::command(), "inspect", image_});
    EXPECT_THAT(text, HasSubstr("┌──"));
    EXPECT_THAT(text, Not(HasSubstr("\033"))) << "a pipe is no terminal: no colours";
}

TEST_F(InspectSystem, AMountedPartitionOfAnImageIsMarkedWithItsMountPoint) {
    const LoopDevice root(image_, part(17 * kMiB, 64 * kMiB));
    const std::string point = scratch_.file("mount");
    std::filesystem::create_directory(point);
    must_run({"mount", "-o", "ro", root.path(), point});
    const Json document = inspect_json(image_);
    const RunResult text = run_dupengine({"inspect", image_});
    ASSERT_EQ(::umount(point.c_str()), 0);
    ASSERT_EQ(document["partitions"][1]["uses"].size(), 2u);
    EXPECT_EQ(document["partitions"][1]["uses"][0]["kind"], "loop");
    EXPECT_EQ(document["partitions"][1]["uses"][1]["kind"], "mounted");
    EXPECT_EQ(document["partitions"][0]["uses"].size(), 0u);
    EXPECT_THAT(text.out, HasSubstr("    in use: " + root.path() + ": mounted on " + point));
}

TEST_F(InspectSystem, ALoopDeviceIsDescribedAsItsFile) {
    const LoopDevice disk(image_);
    const Json document = inspect_json(disk.path());
    EXPECT_EQ(document["block_device"], true);
    EXPECT_EQ(document["name"], disk.path());
    EXPECT_EQ(document["partitions"].size(), 3u);
    EXPECT_EQ(document["uses"].size(), 0u) << "the device that is asked about is no use of itself";
}

TEST_F(InspectSystem, ADiskWithoutATableShowsItsFilesystem) {
    const std::string file = scratch_.sparse_file("filesystem", 16 * kMiB);
    must_run({"mkfs.ext4", "-q", "-L", "bare", file});
    const Json document = inspect_json(file);
    EXPECT_EQ(document["table"]["kind"], "none");
    EXPECT_EQ(document["filesystem"]["type"], "ext4");
    EXPECT_THAT(must_run({test::command(), "inspect", file}), HasSubstr("bare"));
}

TEST_F(InspectSystem, ABlankDiskIsNoError) {
    const RunResult result = run_dupengine({"inspect", scratch_.sparse_file("blank", 16 * kMiB)});
    EXPECT_EQ(result.status, 0);
    EXPECT_THAT(result.out, HasSubstr("no partition table"));
}

TEST_F(InspectSystem, ALostBackupTableIsAProblemButNoFailure) {
    damage(128 * kMiB / 512 - 1);
    const RunResult result = run_dupengine({"inspect", image_});
    EXPECT_EQ(result.status, 0);
    EXPECT_THAT(result.out, HasSubstr("problem: "));
    EXPECT_THAT(result.out, HasSubstr("rootfs"));
}

TEST_F(InspectSystem, ADamagedTableIsOneLineAndExit4AndStillOneDocument) {
    damage(2);
    damage(128 * kMiB / 512 - 1);
    const RunResult text = run_dupengine({"inspect", image_}),
                    json = run_dupengine({"inspect", "--json", image_});
    EXPECT_EQ(text.status, 4);
    EXPECT_THAT(text.out, HasSubstr("128 MiB")) << "what can be seen is shown";
    EXPECT_EQ(std::count(text.err.begin(), text.err.end(), '\n'), 1);
    EXPECT_EQ(json.status, 4);
    const Json document = Json::parse(json.out);
    EXPECT_EQ(document["result"], "error");
    EXPECT_EQ(document["error"]["code"], "source-io");
    EXPECT_EQ(document["size_bytes"], 128 * kMiB);
}

TEST_F(InspectSystem, WhatIsNoDiskIsRefused) {
    for (const std::string& path : {scratch_.path(), std::string("/dev/zero"), scratch_.file("missing"),
                                    scratch_.sparse_file("empty", 0)}) {
        const RunResult result = run_dupengine({"inspect", path});
        EXPECT_EQ(result.status, 3) << path;
        EXPECT_THAT(result.err, HasSubstr(path));
        EXPECT_EQ(result.out, "");
    }
    EXPECT_EQ(run_dupengine({"inspect"}).status, 2);
    EXPECT_EQ(run_dupengine({"inspect", "--sector-size", "100", image_}).status, 2);
}

TEST_F(InspectSystem, OutputThatCannotBeWrittenIsNotSilentlyLost) {
    const RunResult result =
        run_program({"sh", "-c", "\"$1\" inspect --json \"$2\" > /dev/full", "sh", test::command(), image_});
    EXPECT_EQ(result.status, 1);
    EXPECT_THAT(result.err, HasSubstr("standard output"));
}

}  // namespace
}  // namespace dupengine
