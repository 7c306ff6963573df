// Names on exFAT are those that exfat-fuse gave: the files carry marks, which are looked for in the image and
// asked whose they are. And what a user is told of bad sectors on FAT and exFAT.

#include <fcntl.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "base/fd.h"
#include "base/random.h"
#include "layout/owner_tally.h"
#include "tests/support/aged_filesystem.h"
#include "tests/support/fake_devices.h"
#include "tests/support/owners.h"

namespace dupengine::test {
namespace {

constexpr std::uint64_t kMarkBytes = 512;

// A file whose every 512 bytes say whose they are.
std::string mark(const std::string& path, std::uint64_t number) {
    std::string text = fmt::format("MARK <{}> {}\n", path, number);
    text.resize(kMarkBytes, '.');
    return text;
}

void append(const std::string& root, const std::string& path, std::uint64_t first, std::uint64_t count) {
    const Fd fd = open_path(root + path, O_WRONLY | O_CREAT, Code::kInternal);
    for (std::uint64_t i = first; i < first + count; ++i)
        pwrite_exact(fd.get(), i * kMarkBytes, as_bytes(mark(path, i)), Code::kInternal, path);
}

class ExfatOwners : public testing::TestWithParam<std::string> {
  protected:
    ExfatOwners() : image_(scratch_.sparse_file("image", 32 * kMiB)) {
        must_run({"mkfs.exfat", "-L", "A LABEL", "-c", GetParam(), image_});
        const LoopDevice loop(image_);
        const Mount mount(loop.path(), scratch_.file("mnt"), "exfat-fuse");
        make_tree(scratch_.file("mnt"));
    }

    void make_tree(const std::string& root) {
        std::string deep;
        for (unsigned i = 0; i < 12; ++i)
            deep += fmt::format("/Ordner mit Ü und einem langen Namen {}", i);
        std::filesystem::create_directories(root + deep);
        std::filesystem::create_directory(root + "/many");
        append(root, deep + "/file", 0, 20);
        paths_.push_back(deep + "/file");
        for (unsigned i = 0; i < 150; ++i) {
            paths_.push_back(
                fmt::format("/many/one of many files with a name of four entries, number {}", i));
            append(root, paths_.back(), 0, 1 + i % 3);
        }
        // Two that grow in turn lie in pieces, through the FAT.
        for (unsigned i = 0; i < 20; ++i) {
            append(root, "/in pieces", i * 200, 200);
            append(root, "/other pieces", i * 200, 200);
        }
        paths_.insert(paths_.end(), {"/in pieces", "/other pieces"});
        append(root, "/deleted", 0, 10);
        std::filesystem::remove(root + "/deleted");
    }
    void load() { disk_ = std::make_unique<MemoryDevice>(load_file(image_)); }

    /// Where in the image which file's marks stand; what was deleted, too.
    std::map<std::string, block::ExtentSet> find_marks() const {
        std::map<std::string, block::ExtentSet> found;
        const Bytes& content = disk_->bytes()->content;
        for (ByteOffset at = 0; at < content.size(); at += kMarkBytes) {
            const std::string_view text = as_text(std::span(content).subspan(at, kMarkBytes));
            if (!text.starts_with("MARK <")) continue;
            found[std::string(text.substr(6, text.find('>') - 6))].insert({at, at + kMarkBytes});
        }
        return found;
    }
    ScratchFolder scratch_;
    std::string image_;
    std::vector<std::string> paths_;
    std::unique_ptr<MemoryDevice> disk_;
};

TEST_P(ExfatOwners, EveryClusterHasTheNameOfTheFileWhoseMarksStandInIt) {
    load();
    const auto marks = find_marks();
    ASSERT_EQ(marks.size(), paths_.size() + 1);
    block::ExtentSet places;
    Owners expected;
    for (const auto& [path, extents] : marks) {
        places.insert(extents);
        expected[path == "/deleted" ? "other" : path] += extents.total_bytes();
    }
    if (GetParam() == "512") {
        EXPECT_GT(marks.at("/in pieces").count(), 5u);
    }
    EXPECT_EQ(owners_of(image_, "exfat", places), expected);
}

TEST_P(ExfatOwners, OfTheWholeDiskEveryByteIsSomebodysOrFree) {
    const Owners owners = owners_of(image_, "exfat", {{0, 32 * kMiB}});
    std::uint64_t sum = 0;
    for (const auto& [path, bytes] : owners)
        sum += bytes;
    EXPECT_EQ(sum, 32 * kMiB);
    for (const char* name : {"(boot sectors)", "(file allocation table)", "(allocation bitmap)",
                             "(up-case table)", "/", "/many"})
        EXPECT_TRUE(owners.contains(name)) << name;
    EXPECT_FALSE(owners.contains("/deleted"));
    EXPECT_FALSE(owners.contains("/A LABEL"));
}

class DamagedExfatOwners : public ExfatOwners {};

TEST_P(DamagedExfatOwners, DamageTakesNamesAndGivesNoWrongOnes) {
    load();
    const block::ExtentSet all{{0, disk_->geometry().size_bytes}};
    const Owners before = by_path(find_owners(*disk_, "exfat", all));
    Bytes& content = disk_->bytes()->content;
    // Entries of folders, of which the type is that of a file, its clusters or its name.
    std::vector<ByteOffset> entries;
    for (ByteOffset at = 0; at < content.size(); at += 32) {
        const auto type = std::to_integer<unsigned>(content[at]);
        if (type == 0x85 && content[at + 32] == std::byte{0xC0}) entries.push_back(at);
    }
    ASSERT_GT(entries.size(), 150u);
    SeededRandom random(9);
    for (unsigned round = 0; round < 40; ++round) {
        const ByteOffset at = entries[random.below(entries.size())] + random.below(96);
        const auto bits = static_cast<std::byte>(1 + random.below(255));
        content[at] ^= bits;
        const layout::FileOwners found = find_owners(*disk_, "exfat", all);
        for (const auto& [path, bytes] : by_path(found)) {
            const auto old = before.find(path);
            ASSERT_NE(old, before.end()) << path << ", seed 9, round " << round << ", byte " << at;
            EXPECT_LE(bytes, old->second) << path << ", seed 9, round " << round << ", byte " << at;
        }
        content[at] ^= bits;
    }
    EXPECT_EQ(by_path(find_owners(*disk_, "exfat", all)), before);
}

TEST_P(DamagedExfatOwners, FlippedBitsAreSurvived) {
    load();
    Bytes& content = disk_->bytes()->content;
    SeededRandom random(10);
    for (unsigned round = 0; round < 40; ++round) {
        const ByteOffset at = random.below(4 * kMiB);
        const auto bits = static_cast<std::byte>(1 + random.below(255));
        content[at] ^= bits;
        expect_sane(*disk_, "exfat", fmt::format("seed 10, round {}, byte {}", round, at));
        content[at] ^= bits;
    }
}

INSTANTIATE_TEST_SUITE_P(Made, ExfatOwners, testing::Values("512", "4K", "32K"),
                         [](const auto& cluster) { return "clusters_of_" + cluster.param; });

INSTANTIATE_TEST_SUITE_P(Made, DamagedExfatOwners, testing::Values("4K"),
                         [](const auto& cluster) { return "clusters_of_" + cluster.param; });

TEST(BadSectorsOfExfat, AreToldByFile) {
    const ScratchFolder scratch;
    const std::string image = scratch.sparse_file("image", 32 * kMiB);
    must_run({"mkfs.exfat", image});
    {
        const LoopDevice loop(image);
        const Mount mount(loop.path(), scratch.file("mnt"), "exfat-fuse");
        std::filesystem::create_directory(scratch.file("mnt/folder"));
        append(scratch.file("mnt"), "/folder/file", 0, 500);
    }
    const Bytes content = load_file(image)->content;
    const std::size_t lost = as_text(content).find(mark("/folder/file", 400));
    ASSERT_NE(lost, std::string::npos);
    expect_named_to_the_user(scratch, image, lost, "/folder/file");
}

TEST(BadSectorsOfFat, AreToldByFile) {
    const ScratchFolder scratch;
    const std::string image = scratch.sparse_file("image", 40 * kMiB), tree = scratch.file("tree");
    must_run({"mkfs.fat", "-F", "32", "-s", "1", image});
    std::filesystem::create_directories(tree + "/a long name of a folder");
    append(tree, "/a long name of a folder/a long name of a file", 0, 500);
    const RunOptions mtools = {.input = "", .extra_environment = {"MTOOLS_SKIP_CHECK=1"}};
    must_run({"mcopy", "-s", "-i", image, tree + "/a long name of a folder", "::"}, mtools);
    const Bytes content = load_file(image)->content;
    const std::string path = "/a long name of a folder/a long name of a file";
    const std::size_t lost = as_text(content).find(mark(path, 400));
    ASSERT_NE(lost, std::string::npos);
    expect_named_to_the_user(scratch, image, lost, path);
}

}  // namespace
}  // namespace dupengine::test
