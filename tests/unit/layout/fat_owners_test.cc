// Whose bytes they are on FAT: mtools made the files, and says which clusters they have (mshowfat). Damage
// takes names away and gives no wrong ones.

#include <fcntl.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <sstream>

#include "base/fd.h"
#include "base/random.h"
#include "layout/fat_volume.h"
#include "layout/owner_tally.h"
#include "tests/support/fake_devices.h"
#include "tests/support/owners.h"

namespace dupengine::test {
namespace {

struct Make {
    const char* name;
    std::uint64_t size_kib;
    std::vector<std::string> arguments;
};

void PrintTo(const Make& make, std::ostream* out) {
    *out << make.name;
}

const RunOptions kMtools = {.input = "", .extra_environment = {"MTOOLS_SKIP_CHECK=1", "LC_ALL=C.UTF-8"}};

std::string long_name(unsigned i) {
    return fmt::format("one of many files with a name that takes seven entries, Größe in €, number {}", i);
}

void write_file(const std::string& path, unsigned seed, std::uint64_t size) {
    Bytes content(size);
    fill_pattern(content, seed);
    write_file_atomic(path, content, 0644, Code::kInternal);
}

// A filesystem with files deep down, one of many, in one piece and in pieces, with long names and short ones.
class FatFiles {
  public:
    explicit FatFiles(const Make& make) : image_(scratch_.sparse_file("image", make.size_kib * kKiB)) {
        std::vector<std::string> argv = {"mkfs.fat", "-n", "A LABEL"};
        argv.insert(argv.end(), make.arguments.begin(), make.arguments.end());
        argv.push_back(image_);
        must_run(argv);
        const std::string tree = scratch_.file("tree"), deep = "/Ordner mit Ü/deeper/and deeper/still deeper";
        std::filesystem::create_directories(tree + deep);
        std::filesystem::create_directories(tree + "/many");
        for (unsigned i = 0; i < kMany; ++i)
            write_file(tree + "/many/" + long_name(i), i, 1 + i * 37);
        write_file(tree + deep + "/file", 100, 5000);
        write_file(tree + deep + "/empty", 100, 0);
        write_file(tree + "/SHORT.TXT", 101, 700);
        write_file(tree + "/lower.txt", 102, 700);
        for (unsigned i = 0; i < 12; ++i)
            write_file(fmt::format("{}/hole {}", tree, i), i, 3000);
        std::vector<std::string> copy = {"mcopy", "-s", "-i", image_};
        for (const auto& entry : std::filesystem::directory_iterator(tree))
            copy.push_back(entry.path());
        copy.push_back("::");
        must_run(copy, kMtools);
        for (unsigned i = 0; i < 12; i += 2)
            must_run({"mdel", "-i", image_, fmt::format("::hole {}", i)}, kMtools);
        // mtools looks for free clusters behind the last one that FAT32 gave away, if it says so.
        if (is_fat32(make)) forget_free_clusters();
        write_file(scratch_.file("in pieces"), 103, 100000);
        must_run({"mcopy", "-i", image_, scratch_.file("in pieces"), "::in pieces"}, kMtools);
        paths_ = {deep, deep + "/file", "/SHORT.TXT", "/lower.txt", "/hole 1", "/many", "/in pieces"};
        for (unsigned i = 0; i < kMany; i += 9)
            paths_.push_back("/many/" + long_name(i));
        disk_ = std::make_unique<MemoryDevice>(load_file(image_));
        volume_ = layout::read_fat_volume(*disk_);
    }

    MemoryDevice& disk() { return *disk_; }
    const layout::FatVolume& volume() const { return volume_; }
    const std::vector<std::string>& paths() const { return paths_; }
    std::span<std::byte> at(ByteOffset offset, std::size_t size) {
        return std::span(disk_->bytes()->content).subspan(offset, size);
    }
    block::Extent cluster(std::uint64_t number, std::uint64_t count = 1) const {
        const ByteOffset begin = volume_.data_begin + (number - 2) * volume_.cluster_bytes;
        return {begin, begin + count * volume_.cluster_bytes};
    }
    void put_entry16(std::uint64_t number, std::uint16_t value) {
        store_le<std::uint16_t>(at(volume_.fat_begin + number * 2, 2), 0, value);
    }

    /// The clusters of a file, as mshowfat prints them: "::/path <5-10> <12>".
    std::vector<block::Extent> pieces_of(const std::string& path) const {
        std::string text = must_run({"mshowfat", "-i", image_, "::" + path}, kMtools);
        text.erase(0, text.find(" <"));
        std::istringstream words(text);
        std::vector<block::Extent> pieces;
        for (std::string word; words >> word;) {
            const std::uint64_t first = std::stoull(word.substr(1));
            const std::size_t dash = word.find('-');
            const std::uint64_t last = dash == std::string::npos ? first : std::stoull(word.substr(dash + 1));
            pieces.push_back(cluster(first, last - first + 1));
        }
        return pieces;
    }
    std::uint64_t first_cluster_of(const std::string& path) const {
        return (pieces_of(path).at(0).begin - volume_.data_begin) / volume_.cluster_bytes + 2;
    }
    block::ExtentSet places_of(const std::string& path) const {
        block::ExtentSet places;
        for (const block::Extent piece : pieces_of(path))
            places.insert(piece);
        return places;
    }
    layout::FileOwners find(const block::ExtentSet& places) const {
        return find_owners(*disk_, "vfat", places);
    }
    layout::FileOwners find_all() const { return find({{0, disk_->geometry().size_bytes}}); }

    static constexpr unsigned kMany = 60;

  private:
    static bool is_fat32(const Make& make) { return make.arguments.at(1) == "32"; }
    void forget_free_clusters() const {
        const Fd fd = open_path(image_, O_RDWR, Code::kInternal);
        Bytes boot(512), unknown(8, std::byte{0xFF});
        pread_exact(fd.get(), 0, boot, Code::kInternal, image_);
        pwrite_exact(fd.get(), load_le<std::uint16_t>(boot, 11) + 488, unknown, Code::kInternal, image_);
    }

    ScratchFolder scratch_;
    std::string image_;
    std::vector<std::string> paths_;
    std::unique_ptr<MemoryDevice> disk_;
    layout::FatVolume volume_;
};

class FatOwners : public testing::TestWithParam<Make> {};

TEST_P(FatOwners, EveryClusterHasTheNameThatMtoolsGaveIt) {
    const FatFiles files(GetParam());
    block::ExtentSet places;
    Owners expected;
    for (const std::string& path : files.paths())
        for (const block::Extent piece : files.pieces_of(path)) {
            places.insert(piece);
            expected[path] += piece.size();
        }
    EXPECT_GT(files.pieces_of("/in pieces").size(), 2u);
    EXPECT_GE(expected.at("/in pieces"), 100000u);
    const layout::FileOwners found = files.find(places);
    EXPECT_EQ(found.reason, "");
    EXPECT_EQ(by_path(found), expected);
    EXPECT_EQ(found.other_bytes, 0u);
}

TEST_P(FatOwners, OfTheWholeDiskEveryByteIsSomebodysOrFreeAndDeletedFilesHaveNone) {
    const FatFiles files(GetParam());
    const layout::FileOwners found = files.find_all();
    const Owners owners = by_path(found);
    std::uint64_t sum = found.other_bytes;
    for (const auto& [path, bytes] : owners)
        sum += bytes;
    EXPECT_EQ(sum, files.volume().end);
    EXPECT_EQ(owners.at("(boot sectors)"), files.volume().fat_begin);
    EXPECT_EQ(owners.at("(file allocation table)"), files.volume().fat_copies * files.volume().fat_bytes);
    EXPECT_GE(owners.at("/"), 512u);
    EXPECT_TRUE(owners.contains("/hole 1"));
    EXPECT_FALSE(owners.contains("/hole 2")) << "it was deleted";
    EXPECT_FALSE(owners.contains("/A LABEL")) << "this is no file";
    for (unsigned i = 0; i < FatFiles::kMany; ++i)
        EXPECT_TRUE(owners.contains("/many/" + long_name(i))) << i;
}

const Make kMakes[] = {
    {"fat12", 1440, {"-F", "12"}},
    {"fat12_with_clusters_of_4K", 4096, {"-F", "12", "-s", "8"}},
    {"fat16", 16 * 1024, {"-F", "16"}},
    {"fat16_with_one_fat", 64 * 1024, {"-F", "16", "-f", "1", "-s", "32"}},
    {"fat32", 40 * 1024, {"-F", "32", "-s", "1"}},
    {"fat32_of_1K_sectors", 70 * 1024, {"-F", "32", "-S", "1024", "-s", "1"}},
};

INSTANTIATE_TEST_SUITE_P(Made, FatOwners, testing::ValuesIn(kMakes),
                         [](const auto& make) { return std::string(make.param.name); });

class DamagedFatOwners : public testing::Test {
  protected:
    DamagedFatOwners() : files_({"fat16", 8 * 1024, {"-F", "16", "-s", "1"}}) {}

    // Everything as before but of these paths, of which nothing is said.
    void expect_only_lost(const std::vector<std::string>& lost, const Owners& before) {
        const layout::FileOwners found = files_.find_all();
        Owners expected = before;
        for (const std::string& path : lost)
            EXPECT_EQ(expected.erase(path), 1u) << path;
        EXPECT_EQ(by_path(found), expected);
        EXPECT_EQ(found.reason, layout::kNamesMayBeMissing);
    }
    void make_unreadable(block::Extent place) {
        files_.disk().set_interceptor([=](std::size_t, const Call& call) {
            if (call.extent.touches(place)) throw_error(Code::kSourceIo, "EIO");
        });
    }
    FatFiles files_;
};

TEST_F(DamagedFatOwners, WhatCannotBeReadInOneFatIsReadInTheOther) {
    const Owners before = by_path(files_.find_all());
    make_unreadable({files_.volume().fat_begin, files_.volume().fat_begin + 512});
    const layout::FileOwners found = files_.find_all();
    EXPECT_EQ(by_path(found), before);
    EXPECT_EQ(found.reason, "");
}

TEST_F(DamagedFatOwners, AFileOfWhichNoFatCanBeReadHasItsFirstClusterAndHidesNone) {
    const std::uint64_t first = files_.first_cluster_of("/SHORT.TXT");
    const layout::FatVolume& volume = files_.volume();
    files_.disk().set_interceptor([&](std::size_t, const Call& call) {
        if (call.extent.begin >= volume.fat_begin && call.extent.begin < volume.data_begin - 512 * 32)
            throw_error(Code::kSourceIo, "EIO");
    });
    const layout::FileOwners found = files_.find(files_.places_of("/SHORT.TXT"));
    EXPECT_EQ(by_path(found), (Owners{{"/SHORT.TXT", files_.cluster(first).size()}}));
    EXPECT_EQ(found.reason, layout::kNamesMayBeMissing);
}

TEST_F(DamagedFatOwners, AFolderThatCannotBeReadHidesWhatIsInItAndNothingElse) {
    Owners before = by_path(files_.find_all());
    std::vector<std::string> lost;
    make_unreadable(files_.cluster(files_.first_cluster_of("/Ordner mit Ü/deeper")));
    for (const auto& [path, bytes] : before)
        if (path.starts_with("/Ordner mit Ü/deeper/")) lost.push_back(path);
    ASSERT_GE(lost.size(), 3u);
    expect_only_lost(lost, before);
}

TEST_F(DamagedFatOwners, AFolderThatHoldsSomethingElseGivesNoNames) {
    const Owners before = by_path(files_.find_all());
    std::vector<std::string> lost;
    const block::Extent folder = files_.cluster(files_.first_cluster_of("/Ordner mit Ü/deeper"));
    fill_pattern(files_.at(folder.begin, folder.size()), 7);
    for (const auto& [path, bytes] : before)
        if (path.starts_with("/Ordner mit Ü/deeper/")) lost.push_back(path);
    expect_only_lost(lost, before);
}

TEST_F(DamagedFatOwners, AFolderThatContainsItselfEnds) {
    // The entry of the file becomes one of the folder that it is in.
    const std::uint64_t folder = files_.first_cluster_of("/Ordner mit Ü/deeper/and deeper/still deeper");
    const block::Extent place = files_.cluster(folder);
    const std::string_view content = as_text(files_.at(place.begin, place.size()));
    const std::size_t entry = content.find("FILE       ");
    ASSERT_NE(entry, std::string_view::npos);
    files_.at(place.begin + entry + 11, 1)[0] = std::byte{0x10};
    store_le<std::uint16_t>(files_.at(place.begin + entry + 26, 2), 0, static_cast<std::uint16_t>(folder));
    const layout::FileOwners found = files_.find(files_.places_of("/many/" + long_name(9)));
    EXPECT_EQ(found.files.size(), 1u);
    EXPECT_EQ(found.files.at(0).path, "/many/" + long_name(9));
    EXPECT_EQ(found.reason, layout::kNamesMayBeMissing);
}

TEST_F(DamagedFatOwners, AChainThatLoopsOrRunsIntoAnotherFileEndsThere) {
    const std::uint64_t first = files_.first_cluster_of("/in pieces"),
                        other = files_.first_cluster_of("/hole 1");
    const std::uint64_t size = files_.volume().cluster_bytes;
    const block::ExtentSet places = files_.places_of("/in pieces");
    ASSERT_EQ(by_path(files_.find(places)), (Owners{{"/in pieces", places.total_bytes()}}));
    for (const std::uint64_t next :
         {first, other, std::uint64_t{1}, std::uint64_t{0xFFF7}, std::uint64_t{0xFFFF}}) {
        files_.put_entry16(first + 1, static_cast<std::uint16_t>(next));
        const layout::FileOwners found = files_.find(places);
        EXPECT_EQ(by_path(found), (Owners{{"/in pieces", 2 * size}})) << next;
        EXPECT_EQ(found.reason, layout::kNamesMayBeMissing) << next;
    }
    files_.put_entry16(first, 0);  // free: its clusters are nobody's
    EXPECT_TRUE(files_.find(places).files.empty());
}

TEST_F(DamagedFatOwners, ALongNameThatBelongsToAnotherFileIsNotBelieved) {
    const block::Extent root{files_.volume().data_begin - 512 * 32, files_.volume().data_begin};
    const std::size_t entry = as_text(files_.at(root.begin, root.size())).find("HOLE1~1");
    ASSERT_NE(entry, std::string_view::npos);
    files_.at(root.begin + entry + 4, 1)[0] = std::byte{'X'};
    const Owners owners = by_path(files_.find(files_.places_of("/hole 1")));
    ASSERT_EQ(owners.size(), 1u);
    EXPECT_EQ(owners.begin()->first, "/HOLEX~1");
}

TEST_F(DamagedFatOwners, FlippedBitsAreSurvived) {
    Bytes& content = files_.disk().bytes()->content;
    std::vector<ByteOffset> written;
    for (ByteOffset at = 0; at < content.size(); at += 512)
        if (!is_zero(std::span(content).subspan(at, 512))) written.push_back(at);
    SeededRandom random(6);
    for (unsigned round = 0; round < 400; ++round) {
        const ByteOffset at = written[random.below(written.size())] + random.below(512);
        const auto bits = static_cast<std::byte>(1 + random.below(255));
        content[at] ^= bits;
        expect_sane(files_.disk(), "vfat", fmt::format("seed 6, round {}, byte {}", round, at));
        content[at] ^= bits;
    }
}

}  // namespace
}  // namespace dupengine::test
