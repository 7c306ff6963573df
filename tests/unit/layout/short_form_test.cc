// The short form of disks, and with it the seeds of the fuzz target used_extents:
//   DUPENGINE_CORPUS=tests/fuzz/corpus/used_extents unit_layout --gtest_filter='ShortForm.*'
// writes them anew.

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>

#include "base/fd.h"
#include "block/open.h"
#include "tests/support/fake_devices.h"
#include "tests/support/filesystems.h"
#include "tests/support/ntfs_editor.h"
#include "tests/support/sparse_reader.h"

namespace dupengine::test {
namespace {

struct Seed {
    const char* name;
    const char* type;
    std::uint64_t size_kib;
    std::vector<std::string> mkfs;  // the image is the last argument
};

const Seed kSeeds[] = {
    {"ext2",
     "ext2",
     512,
     {"mke2fs", "-q", "-F", "-t", "ext2", "-b", "1024", "-N", "16", "-O", "^resize_inode"}},
    {"ext4-many-groups",
     "ext4",
     640,
     {"mke2fs", "-q", "-F", "-t", "ext4", "-b", "1024", "-g", "256", "-N", "32", "-O",
      "^has_journal,^resize_inode,^metadata_csum,uninit_bg"}},
    {"ext4-meta-bg",
     "ext4",
     640,
     {"mke2fs", "-q", "-F", "-t", "ext4", "-b", "1024", "-g", "256", "-N", "32", "-O",
      "^has_journal,meta_bg,^resize_inode,^metadata_csum,uninit_bg"}},
    {"ext4-bigalloc",
     "ext4",
     2048,
     {"mke2fs", "-q", "-F", "-t", "ext4", "-b", "1024", "-N", "16", "-O",
      "^has_journal,bigalloc,^resize_inode"}},
    {"ext4-no-checksums",
     "ext4",
     2048,
     {"mke2fs", "-q", "-F", "-t", "ext4", "-b", "1024", "-N", "16", "-O", "^metadata_csum,^resize_inode"}},
    {"exfat", "exfat", 4096, {"mkfs.exfat", "-c", "512", "-b", "16K"}},
    {"f2fs", "f2fs", 65536, {"mkfs.f2fs", "-q"}},
    {"fat12", "vfat", 512, {"mkfs.fat", "-F", "12"}},
    {"fat16", "vfat", 16384, {"mkfs.fat", "-F", "16"}},
    {"fat32", "vfat", 40960, {"mkfs.fat", "-F", "32", "-s", "1"}},
    {"swap", "swap", 64, {"mkswap"}},
    {"xfs", "xfs", 36864, {"mkfs.xfs", "-q", "-f", "--unsupported", "-d", "agcount=2"}},
    {"xfs-version-4",
     "xfs",
     36864,
     {"mkfs.xfs", "-q", "-f", "--unsupported", "-m", "crc=0", "-d", "agcount=2"}},
};

void check_and_write(const std::string& name, const std::string& type, const std::string& image) {
    const auto disk = block::open_source(image);
    const Bytes short_form = encode_sparse(*disk);
    EXPECT_LT(short_form.size(), 48 * kKiB) << name;
    const auto decoded = SparseReader::decode(short_form);
    const layout::UsedExtents wanted = used_as(*disk, type), found = used_as(*decoded, type);
    EXPECT_FALSE(found.whole) << name << ": " << found.reason;
    EXPECT_EQ(found.used, wanted.used) << name;
    EXPECT_EQ(found.note, wanted.note) << name;
    const char* corpus = std::getenv("DUPENGINE_CORPUS");
    if (corpus != nullptr)
        write_file_atomic(fmt::format("{}/{}", corpus, name), short_form, 0644, Code::kInternal);
}

TEST(ShortForm, OfARealFilesystemIsSmallAndLosesNothing) {
    for (const Seed& seed : kSeeds) {
        const ScratchFolder scratch;
        const std::string image = scratch.sparse_file("image", seed.size_kib * kKiB);
        std::vector<std::string> argv = seed.mkfs;
        argv.push_back(image);
        must_run(argv);
        check_and_write(seed.name, seed.type, image);
    }
}

TEST(ShortForm, OfAnUnplayedJournalKeepsTheJournal) {
    const ScratchFolder scratch;
    const std::string image =
        make_ext(scratch, "image", 2 * kMiB,
                 {"-t", "ext4", "-b", "1024", "-N", "16", "-O", "^metadata_csum,^resize_inode"}, "");
    write_file_atomic(scratch.file("bitmap"), Bytes(1024, std::byte{0x0F}), 0644, Code::kInternal);
    const std::string bitmap = std::to_string(load_le<std::uint32_t>(load_file(image)->content, 2048));
    must_run({"debugfs", "-w", "-f", "-", image},
             {.input = fmt::format("jo -c\njw -b {} {}\njc\n", bitmap, scratch.file("bitmap")),
              .extra_environment = {}});
    EXPECT_NE(look_at(image).used.note, "");
    check_and_write("ext4-unplayed-journal", "ext4", image);
}

// Only what the reader looks at: the trees of one copy out of two, and not the files.
TEST(ShortForm, OfBtrfsKeepsWhatIsRead) {
    const std::pair<const char*, std::vector<std::string>> makes[] = {
        {"btrfs-mixed", {"mkfs.btrfs", "-q", "-M"}},
        {"btrfs-two-copies", {"mkfs.btrfs", "-q"}},
        {"btrfs-levels", {"mkfs.btrfs", "-q", "-M"}},
    };
    for (const auto& [name, mkfs] : makes) {
        const ScratchFolder scratch;
        const std::string image = scratch.sparse_file("image", 112 * kMiB);
        std::vector<std::string> argv = mkfs;
        // Extents enough for a second level of the extent tree.
        if (std::string(name) == "btrfs-levels")
            argv.insert(argv.end(), {"--rootdir", make_tree(scratch, "tree", 1)});
        argv.push_back(image);
        must_run(argv);
        const MemoryDevice disk(load_file(image));
        ASSERT_FALSE(used_as(disk, "btrfs").whole);
        Bytes stripped(disk.geometry().size_bytes);
        for (const Call& call : disk.calls())
            std::copy_n(disk.bytes()->content.begin() + static_cast<std::ptrdiff_t>(call.extent.begin),
                        call.extent.size(),
                        stripped.begin() + static_cast<std::ptrdiff_t>(call.extent.begin));
        write_file_atomic(scratch.file("stripped"), stripped, 0644, Code::kInternal);
        check_and_write(name, "btrfs", scratch.file("stripped"));
    }
}

// Only what a reader of used extents looks at: a log and tables of capital letters are large.
TEST(ShortForm, OfAnNtfsVolumeKeepsItsStructures) {
    const ScratchFolder scratch;
    constexpr std::uint64_t kSize = 2 * kMiB;
    const auto full = load_file(make_ntfs(scratch, "image", kSize, {"-c", "1024", "-T"}));
    NtfsEditor edit(full->content);
    for (const bool log_is_empty : {true, false}) {
        if (!log_is_empty) edit.put_restart_page(0, {.lsn = 1, .client = 0, .flags = 2});
        block::ExtentSet kept = {{0, 512}, {kSize - 512, kSize}};
        for (std::uint64_t number : {0, 1, 2, 3, 5, 6, 7})
            kept.insert({edit.record_at(number), edit.record_at(number + 1)});
        kept.insert({edit.first_byte_of(2), edit.first_byte_of(2) + (log_is_empty ? 8 : 4) * kKiB});
        kept.insert({edit.first_byte_of(5, 0xA0, "$I30"), edit.first_byte_of(5, 0xA0, "$I30") + 4 * kKiB});
        kept.insert({edit.first_byte_of(6), edit.first_byte_of(6) + kKiB});
        Bytes stripped(kSize);
        for (block::Extent extent : kept)
            std::copy_n(full->content.begin() + static_cast<std::ptrdiff_t>(extent.begin), extent.size(),
                        stripped.begin() + static_cast<std::ptrdiff_t>(extent.begin));
        write_file_atomic(scratch.file("stripped"), stripped, 0644, Code::kInternal);
        check_and_write(log_is_empty ? "ntfs-empty-log" : "ntfs", "ntfs", scratch.file("stripped"));
    }
}

TEST(ShortForm, AnyBytesAreADisk) {
    for (const char* text : {"", "x", "\x01\x01", "\xff\xff\xff\xff\xff", "some bytes of no meaning"}) {
        const auto disk = SparseReader::decode(as_bytes(text));
        EXPECT_GE(disk->geometry().size_bytes, 64 * kKiB);
        EXPECT_TRUE(used_as(*disk, "ext4").whole);
    }
}

}  // namespace
}  // namespace dupengine::test
