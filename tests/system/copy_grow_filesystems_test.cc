// `copy --grow` for every filesystem that grows, made by its own mkfs and full of files: afterwards it is as
// large as its partition, sound to its own checker, and holds the same files; the source is what it was.

#include <gtest/gtest.h>
#include <sys/statvfs.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "tests/support/aged_filesystem.h"
#include "tests/support/disk_image.h"
#include "tests/support/filesystems.h"

namespace dupengine::test {
namespace {

using block::Extent;
using nlohmann::json;

struct Kind {
    std::string name;
    std::vector<std::string> make;
    std::string mount;  // the type, for mount(8)
    std::string options;
    std::vector<std::string> check;
    std::uint32_t sector_bytes = 512;
};

const std::vector<Kind> kKinds = {
    {"Xfs", {"mkfs.xfs", "-q", "-f", "--unsupported", "-L", "label"}, "xfs", "nouuid", {"xfs_repair", "-n"}},
    {"XfsOf4096ByteSectors",
     {"mkfs.xfs", "-q", "-f", "--unsupported", "-m", "rmapbt=1"},
     "xfs",
     "nouuid",
     {"xfs_repair", "-n"},
     4096},
    {"Btrfs", {"mkfs.btrfs", "-q", "-f", "-L", "label"}, "btrfs", "", {"btrfs", "check", "--readonly"}},
    {"BtrfsWithXxhash",
     {"mkfs.btrfs", "-q", "-f", "--csum", "xxhash", "-n", "4096", "-m", "single"},
     "btrfs",
     "",
     {"btrfs", "check", "--readonly"}},
    {"BtrfsWithSha256",
     {"mkfs.btrfs", "-q", "-f", "--csum", "sha256", "-M"},
     "btrfs",
     "",
     {"btrfs", "check", "--readonly"}},
    {"Ntfs",
     {"mkntfs", "-q", "-F", "-Q", "-L", "label"},
     "ntfs-3g",
     "",
     {"ntfsresize", "--info", "--force", "--no-progress-bar"}},
};

constexpr std::uint64_t kSmall = 160 << 20, kLarge = 700 << 20;

// A disk with one partition, and files in it.
std::string make_source(const ScratchFolder& folder, const Kind& kind) {
    const std::string disk = folder.sparse_file("source.img", kSmall);
    LoopDevice::Options options{.sector_bytes = kind.sector_bytes};
    {
        const LoopDevice loop(disk, options);
        must_run({"sgdisk", "--new=1:1M:0", loop.path()});
    }
    options.offset_bytes = kMiB;
    options.size_bytes = kSmall - 2 * kMiB;
    const LoopDevice loop(disk, options);
    std::vector<std::string> make = kind.make;
    make.push_back(loop.path());
    must_run(make);
    const Mount mount(loop.path(), folder.file("mnt"), kind.mount, kind.options);
    std::filesystem::create_directories(folder.file("mnt/aged"));
    Churn(folder.file("mnt/aged"), 7).run(60);
    return disk;
}

json copy(const Kind& kind, const std::string& source, const std::string& target) {
    const LoopDevice::Options options{.sector_bytes = kind.sector_bytes};
    const LoopDevice from(source, options), to(target, options);
    const RunResult result = run_dupengine({"copy", "--json", "--yes", "--grow", from.path(), to.path()});
    EXPECT_EQ(result.status, 0) << result.err;
    return json::parse(result.out);
}

struct Seen {
    std::string files;  // digest over names, owners, modes, times and contents
    std::uint64_t bytes = 0;
};

Seen look_inside(const ScratchFolder& folder, const Kind& kind, const std::string& disk, Extent part) {
    const LoopDevice loop(disk, {.read_only = true,
                                 .sector_bytes = kind.sector_bytes,
                                 .offset_bytes = part.begin,
                                 .size_bytes = part.size()});
    std::vector<std::string> check = kind.check;
    check.push_back(loop.path());
    const RunResult sound = run_program(check);
    EXPECT_EQ(sound.status, 0) << sound.out << sound.err;
    const std::string options = kind.options.empty() ? "ro" : "ro," + kind.options;
    const Mount mount(loop.path(), folder.file("mnt"), kind.mount, options);
    struct statvfs info {};
    EXPECT_EQ(::statvfs(folder.file("mnt").c_str(), &info), 0);
    return {must_run({"sh", "-c",
                      "cd \"$1\" && find aged -type f | grep -q . && tar --sort=name -c . | sha256sum", "sh",
                      folder.file("mnt")}),
            std::uint64_t{info.f_blocks} * info.f_frsize};
}

class CopyGrows : public testing::TestWithParam<Kind> {};

TEST_P(CopyGrows, TheFilesystemFillsTheLargerDiskAndLosesNothing) {
    const Kind& kind = GetParam();
    const ScratchFolder folder;
    const std::string source = make_source(folder, kind), before = file_sha256(source);
    const std::string target = folder.sparse_file("target.img", kLarge);
    const json report = copy(kind, source, target);
    EXPECT_EQ(file_sha256(source), before) << "the source was written";
    EXPECT_EQ(report["result"], "verified");
    ASSERT_TRUE(report["plan"].contains("grow")) << report["notes"];
    const Extent grown{kMiB, kMiB + report["plan"]["grow"]["to_bytes"].get<std::uint64_t>()};
    EXPECT_GT(grown.end, kLarge - 2 * kMiB);
    const Seen from = look_inside(folder, kind, source, {kMiB, kSmall - kMiB});
    const Seen to = look_inside(folder, kind, target, grown);
    EXPECT_EQ(from.files, to.files);
    EXPECT_GT(to.bytes, grown.size() - grown.size() / 8);  // some count their own structures, some do not
    EXPECT_LE(to.bytes, grown.size());
}

INSTANTIATE_TEST_SUITE_P(Kind, CopyGrows, testing::ValuesIn(kKinds),
                         [](const auto& kind) { return kind.param.name; });

}  // namespace
}  // namespace dupengine::test
