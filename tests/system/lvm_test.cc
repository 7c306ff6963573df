// A disk of LVM: what travels is what the filesystems in its logical volumes use.

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
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
};

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
    {
        // "raw" becomes the store of a snapshot of "root". lvcreate would want device-mapper for that.
        const LoopDevice loop(lvm.disk.path);
        const std::string text = lvm.folder.file("group.txt");
        ASSERT_EQ(run_lvm(loop.path(), {"vgcfgbackup", "-f", text, "vg0"}).status, 0);
        std::string group = read_file(text, Code::kInternal);
        const std::string head = "logical_volumes {\n";
        group.insert(
            group.find(head) + head.size(),
            "snapshot0 {\nid = \"AAAAAA-AAAA-AAAA-AAAA-AAAA-AAAA-AAAAAA\"\n"
            "status = [\"READ\", \"WRITE\", \"VISIBLE\"]\nsegment_count = 1\nsegment1 {\nstart_extent = 0\n"
            "extent_count = 2\ntype = \"snapshot\"\nchunk_size = 8\norigin = \"root\"\n"
            "cow_store = \"raw\"\n}\n}\n");
        write_file_atomic(text, as_bytes(group), 0644, Code::kInternal);
        const RunResult made = run_lvm(loop.path(), {"vgcfgrestore", "--force", "-f", text, "vg0"});
        ASSERT_EQ(made.status, 0) << made.complaint();
    }
    const auto reader = block::open_source(lvm.disk.path);
    const layout::UsedExtents used = layout::find_used_extents(*reader, layout::probe_signature(*reader));
    EXPECT_FALSE(used.whole) << used.reason;
    EXPECT_THAT(used.note, HasSubstr("root (whole: part of the snapshot snapshot0)"));
    EXPECT_THAT(used.note, HasSubstr("raw (whole: part of the snapshot snapshot0)"));
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
