// A disk of LVM: what travels is what the filesystems in its logical volumes use.

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <functional>
#include <nlohmann/json.hpp>

#include "base/fd.h"
#include "base/random.h"
#include "block/open.h"
#include "tests/support/disk_image.h"
#include "tests/support/fake_devices.h"
#include "tests/support/filesystems.h"
#include "tests/support/lvm_disk.h"
#include "tests/support/paths.h"

namespace dupengine::test {
namespace {

using block::Extent;
using nlohmann::json;
using testing::HasSubstr;

struct Lvm {
    ScratchFolder folder;
    std::string root = make_ext(folder, "root.img", 48 * kMiB, {"-t", "ext4"}, make_tree(folder, "tree", 1));
    LvmDisk disk = make_lvm_disk(folder, "pv.img", root);

    void write(ByteOffset at, std::string_view text) const {
        const Fd fd = open_path(disk.path, O_RDWR, Code::kInternal);
        pwrite_exact(fd.get(), at, as_bytes(text), Code::kInternal, disk.path);
    }
    /// Lets `change` edit the text of the group, which LVM then checks and writes.
    void edit(const std::function<void(std::string& group)>& change) const {
        const LoopDevice loop(disk.path);
        const std::string text = folder.file("group.txt");
        ASSERT_EQ(run_lvm(loop.path(), {"vgcfgbackup", "-f", text, "vg0"}).status, 0);
        std::string group = read_file(text, Code::kInternal);
        change(group);
        write_file_atomic(text, as_bytes(group), 0644, Code::kInternal);
        const RunResult made = run_lvm(loop.path(), {"vgcfgrestore", "--force", "-f", text, "vg0"});
        ASSERT_EQ(made.status, 0) << made.complaint();
    }
};
constexpr std::string_view kVolumes = "logical_volumes {\n";

TEST(Lvm, OnlyWhatItsFilesystemsUseIsCopiedAndTheGroupIsTheSame) {
    const Lvm lvm;
    ASSERT_EQ(lvm.disk.root.size(), 2u) << "the root volume is in one piece: the test shows nothing";
    lvm.write(lvm.disk.free.begin + 12345, kDeletedText);
    lvm.write(lvm.disk.raw.begin + 777, "bytes of no known filesystem");
    const std::string target = lvm.folder.sparse_file("target.img", 96 * kMiB);
    fill_with_old_data(target, 96 * kMiB);
    const RunResult copied = run_program({test::command(), "copy", "--yes", "--json", lvm.disk.path, target});
    ASSERT_EQ(copied.status, 0) << copied.err;
    const json report = json::parse(copied.out);
    EXPECT_LT(report["bytes_used"], 40u << 20) << "more than the files and the unknown volume";
    EXPECT_THAT(report["notes"].dump(), HasSubstr("raw (whole: nothing recognised here), root (ext4)"));
    EXPECT_FALSE(file_contains(target, kDeletedText));
    EXPECT_FALSE(file_contains(target, kOldText));
    EXPECT_TRUE(file_contains(target, "bytes of no known filesystem"));
    // The volume, put together again from its pieces.
    const std::string volume = lvm.folder.file("volume.img"), piece = lvm.folder.file("piece.img");
    for (Extent place : lvm.disk.root) {
        extract_range(target, place, piece);
        must_run({"sh", "-c", "cat " + piece + " >>" + volume});
    }
    EXPECT_EQ(run_program({"e2fsck", "-fn", volume}).status, 0);
    EXPECT_EQ(ext_tree_digest(lvm.folder, volume), ext_tree_digest(lvm.folder, lvm.root));
    const LoopDevice loop(target);
    EXPECT_EQ(run_lvm(loop.path(), {"vgck", "vg0"}).status, 0);
    EXPECT_THAT(run_lvm(loop.path(), {"lvs", "--noheadings", "vg0"}).out, HasSubstr("root"));
}

// The content of such a volume is not a filesystem, even where it begins like one.
TEST(Lvm, VolumesThatOthersAreBuiltOnAreCopiedWhole) {
    const Lvm lvm;
    // "raw" becomes the store of a snapshot of "root". lvcreate would want device-mapper for that.
    lvm.edit([](std::string& group) {
        group.insert(
            group.find(kVolumes) + kVolumes.size(),
            "snapshot0 {\nid = \"AAAAAA-AAAA-AAAA-AAAA-AAAA-AAAA-AAAAAA\"\n"
            "status = [\"READ\", \"WRITE\", \"VISIBLE\"]\nsegment_count = 1\nsegment1 {\nstart_extent = 0\n"
            "extent_count = 2\ntype = \"snapshot\"\nchunk_size = 8\norigin = \"root\"\n"
            "cow_store = \"raw\"\n}\n}\n");
    });
    const auto reader = block::open_source(lvm.disk.path);
    const layout::UsedExtents used = layout::find_used_extents(*reader, layout::probe_signature(*reader));
    EXPECT_FALSE(used.whole) << used.reason;
    EXPECT_THAT(used.note, HasSubstr("root (whole: part of the snapshot snapshot0)"));
    EXPECT_THAT(used.note, HasSubstr("raw (whole: part of the snapshot snapshot0)"));
}

// The machine lost its power in the middle of a pvmove, which goes on at the next activation.
TEST(Lvm, AnUnfinishedMoveIsCopiedWithBothOfItsPlaces) {
    const Lvm lvm;
    const Extent moved = lvm.disk.raw, there = {lvm.disk.free.begin, lvm.disk.free.begin + moved.size()};
    const auto extent_at = [](ByteOffset at) { return (at - kMiB) / (4 * kMiB); };
    lvm.edit([&](std::string& group) {
        const std::string from = fmt::format("\"pv0\", {}", extent_at(moved.begin));
        const std::size_t raw = group.find(from, group.find("\t\traw {"));
        ASSERT_NE(raw, std::string::npos) << group;
        group.replace(raw, from.size(), "\"pvmove0\", 0");
        group.insert(group.find(kVolumes) + kVolumes.size(),
                     fmt::format("pvmove0 {{\nid = \"AAAAAA-AAAA-AAAA-AAAA-AAAA-AAAA-AAAAAA\"\n"
                                 "status = [\"READ\", \"WRITE\", \"PVMOVE\", \"LOCKED\"]\n"
                                 "segment_count = 1\nsegment1 {{\nstart_extent = 0\nextent_count = {}\n"
                                 "type = \"mirror\"\nmirror_count = 2\nextents_moved = 0\n"
                                 "region_size = 1024\nmirrors = [{}, \"pv0\", {}]\n}}\n}}\n",
                                 moved.size() / (4 * kMiB), from, extent_at(there.begin)));
    });
    lvm.write(moved.begin + 4321, "still at its old place");
    lvm.write(there.end - 100, "already at its new place");
    const std::string target = lvm.folder.sparse_file("target.img", 96 * kMiB);
    const RunResult copied = run_program({test::command(), "copy", "--yes", lvm.disk.path, target});
    ASSERT_EQ(copied.status, 0) << copied.complaint();
    EXPECT_TRUE(file_contains(target, "still at its old place"));
    EXPECT_TRUE(file_contains(target, "already at its new place"));
}

TEST(Lvm, DamageAnywhereInItsStructuresMeansACopyOfEverything) {
    const Lvm lvm;
    const auto bytes = load_file(lvm.disk.path);
    const MemoryDevice whole(bytes);
    const layout::UsedExtents sound = used_as(whole, "LVM2_member");
    ASSERT_FALSE(sound.whole) << sound.reason;
    for (std::uint64_t seed = 1; seed <= 300; ++seed) {
        SeededRandom random(seed);
        // Label, header of the metadata area, and the metadata of the last change.
        const ByteOffset places[] = {512 + 16 + random.below(200), 4096 + random.below(64)};
        const ByteOffset at = places[random.below(2)];
        const std::byte before = bytes->content[at];
        bytes->content[at] ^= std::byte(1 + random.below(255));
        const layout::UsedExtents found = used_as(whole, "LVM2_member");
        EXPECT_TRUE(found.whole) << "seed " << seed << ", byte " << at;
        bytes->content[at] = before;
    }
}

}  // namespace
}  // namespace dupengine::test
