// Names on btrfs are those that the kernel gave: files on mounted filesystems, asked where they lie (FIEMAP
// gives logical addresses, which btrfs-progs' list of chunks turns into places), unmounted, and found again.

#include <gtest/gtest.h>

#include <cstring>
#include <filesystem>
#include <sstream>

#include "base/fd.h"
#include "base/random.h"
#include "block/open.h"
#include "layout/owner_tally.h"
#include "tests/support/aged_filesystem.h"
#include "tests/support/fake_devices.h"
#include "tests/support/owners.h"
#include "tests/support/sealed_reader.h"

namespace dupengine::test {
namespace {

using block::Extent;
using block::ExtentSet;

struct Make {
    const char* name;
    std::vector<std::string> arguments;
    std::uint64_t copies_of_data = 1;
};

void PrintTo(const Make& make, std::ostream* out) {
    *out << make.name;
}

class Image {
  public:
    static constexpr std::uint64_t kSize = 256 * kMiB;

    explicit Image(const Make& make = {"usual", {}}) : path_(scratch_.sparse_file("image", kSize)) {
        std::vector<std::string> argv = {"mkfs.btrfs", "-q", "-f"};
        argv.insert(argv.end(), make.arguments.begin(), make.arguments.end());
        argv.push_back(path_);
        must_run(argv);
    }
    const ScratchFolder& scratch() const { return scratch_; }
    const std::string& path() const { return path_; }
    std::string root() const { return scratch_.file("mnt"); }

    void mount(const std::string& options = {}) {
        loop_ = std::make_unique<LoopDevice>(path_);
        mount_ = std::make_unique<Mount>(loop_->path(), root(), "btrfs", options);
    }
    void sync() const { must_run({"btrfs", "filesystem", "sync", root()}); }
    void unmount() {
        mount_.reset();
        loop_.reset();
    }

    /// All copies of a logical range, from lines as "item 3 key (FIRST_CHUNK_TREE CHUNK_ITEM 30408704)",
    /// "length 26804224 owner 2 stripe_len 65536 type METADATA|DUP", "stripe 0 devid 1 offset 38797312".
    ExtentSet places_of(Extent logical) const {
        std::istringstream words(must_run({"btrfs", "inspect-internal", "dump-tree", "-t", "chunk", path_}));
        ExtentSet places;
        std::uint64_t begin = 0, length = 0;
        std::string before;
        for (std::string word; words >> word; before = word) {
            if (before == "CHUNK_ITEM") begin = std::stoull(word), length = 0;
            if (before == "length") length = std::stoull(word);
            const bool is_stripe = before == "offset" && length != 0;
            if (!is_stripe || !Extent{begin, begin + length}.contains(logical)) continue;
            const ByteOffset at = std::stoull(word) + (logical.begin - begin);
            places.insert({at, at + logical.size()});
        }
        if (places.empty()) throw_error(Code::kInternal, "no chunk has {}", logical.text());
        return places;
    }
    ExtentSet places_of(const std::string& file) const {
        ExtentSet places;
        for (const Extent piece : fiemap_of(root() + file))
            places.insert(places_of(piece));
        return places;
    }
    Owners owners_of(const ExtentSet& places) const { return test::owners_of(path_, "btrfs", places); }
    /// Where these bytes stand.
    ExtentSet find(const std::string& text) const {
        const auto disk = load_file(path_);
        const char* const begin = as_text(disk->content).data();
        const char* const end = begin + disk->content.size();
        ExtentSet places;
        for (const char* at = begin; at < end; ++at) {
            at = static_cast<const char*>(
                ::memmem(at, static_cast<std::size_t>(end - at), text.data(), text.size()));
            if (at == nullptr) break;
            const auto offset = static_cast<ByteOffset>(at - begin);
            places.insert({offset, offset + text.size()});
        }
        return places;
    }

  private:
    ScratchFolder scratch_;
    std::string path_;
    std::unique_ptr<LoopDevice> loop_;
    std::unique_ptr<Mount> mount_;
};

class BtrfsOwners : public testing::TestWithParam<Make> {};

TEST_P(BtrfsOwners, EveryBlockHasTheNameThatTheKernelGaveIt) {
    Image image(GetParam());
    image.mount("max_inline=0");
    const std::vector<std::string> paths = make_files(image.root(), 300);
    image.sync();
    std::map<std::string, std::vector<Extent>> pieces;
    for (std::size_t i = 0; i < paths.size(); i += i < 250 ? 7 : 1)
        pieces[paths[i]] = fiemap_of(image.root() + paths[i]);
    image.unmount();
    ExtentSet places;
    Owners expected;
    for (const auto& [path, extents] : pieces)
        for (const Extent piece :
             path == "/sparse" ? std::vector(extents.begin(), extents.begin() + 40) : extents)
            for (const Extent place : image.places_of(piece)) {
                places.insert(place);
                expected[path] += place.size();
            }
    EXPECT_EQ(expected["/sparse"], 40 * 4096 * GetParam().copies_of_data);
    EXPECT_EQ(image.owners_of(places), expected);
}

INSTANTIATE_TEST_SUITE_P(Made, BtrfsOwners,
                         testing::ValuesIn(std::vector<Make>{
                             {"usual", {}},
                             {"two_copies_of_data", {"-d", "dup"}, 2},
                             {"small_nodes_and_no_skinny_ones", {"-n", "4096", "-O", "^skinny-metadata"}},
                             {"mixed_groups", {"-M", "--csum", "xxhash"}}}),
                         [](const auto& make) { return std::string(make.param.name); });

TEST(BtrfsOwnersOfSubvolumes, FilesHaveTheirWholePathAlsoWhereOnlyASnapshotHasThem) {
    Image image;
    image.mount("max_inline=0");
    const std::string root = image.root();
    must_run({"btrfs", "subvolume", "create", root + "/sub"});
    must_run({"btrfs", "subvolume", "create", root + "/sub/inner"});
    std::filesystem::create_directories(root + "/sub/dir/deeper");
    std::filesystem::create_directory(root + "/snapshots");
    for (unsigned i = 0; i < 400; ++i)
        write_pieces(fmt::format("{}/sub/dir/file {}", root, i), 1, 4096);
    write_pieces(root + "/sub/inner/file", 3, 4096);
    write_pieces(root + "/sub/dir/deeper/file", 2, 4096);
    must_run({"btrfs", "subvolume", "snapshot", "-r", root + "/sub", root + "/snapshots/one"});
    // Blocks of the trees are no longer shared where the subvolume changes after its snapshot.
    for (unsigned i = 0; i < 400; i += 3)
        write_pieces(fmt::format("{}/sub/dir/file {}", root, i), 2, 4096);
    std::filesystem::remove(root + "/sub/dir/file 4");
    image.sync();
    const ExtentSet inner = image.places_of("/sub/inner/file"),
                    deeper = image.places_of("/sub/dir/deeper/file"),
                    old = image.places_of("/snapshots/one/dir/file 3"),
                    changed = image.places_of("/sub/dir/file 3"),
                    removed = image.places_of("/snapshots/one/dir/file 4"),
                    shared = image.places_of("/sub/dir/file 5");
    must_run({"btrfs", "subvolume", "snapshot", root + "/sub", root + "/snapshots/two"});
    image.unmount();
    EXPECT_EQ(image.owners_of(inner), (Owners{{"/sub/inner/file", 3 * 4096}}));
    EXPECT_EQ(image.owners_of(changed), (Owners{{"/sub/dir/file 3", 2 * 4096}}));
    EXPECT_EQ(image.owners_of(old), (Owners{{"/snapshots/one/dir/file 3", 4096}}));
    EXPECT_EQ(image.owners_of(removed), (Owners{{"/snapshots/one/dir/file 4", 4096}}));
    EXPECT_EQ(image.owners_of(shared).count("/sub/dir/file 5"), 1u);
    EXPECT_EQ(image.owners_of(deeper).count("/sub/dir/deeper/file"), 1u);

    image.mount();
    must_run({"btrfs", "subvolume", "delete", "--commit-after", root + "/sub/inner"});
    must_run({"btrfs", "subvolume", "delete", "--commit-after", root + "/sub"});
    must_run({"btrfs", "subvolume", "delete", "--commit-after", root + "/snapshots/two"});
    must_run({"btrfs", "subvolume", "sync", root});
    image.unmount();
    EXPECT_EQ(image.owners_of(shared), (Owners{{"/snapshots/one/dir/file 5", 4096}}));
    EXPECT_EQ(image.owners_of(deeper), (Owners{{"/snapshots/one/dir/deeper/file", 2 * 4096}}));
    EXPECT_EQ(image.owners_of(inner), (Owners{{"other", 3 * 4096}})) << "it is free now";
}

TEST(BtrfsOwnersOfSmallFiles, WhatLiesInALeafBelongsToTheFilesOfItsItems) {
    Image image;
    image.mount();
    std::filesystem::create_directory(image.root() + "/folder");
    write_file_atomic(image.root() + "/folder/small", as_bytes("A FEW WORDS IN A LEAF"), 0644,
                      Code::kInternal);
    std::filesystem::create_symlink("WHERE A LINK POINTS TO", image.root() + "/folder/link");
    image.unmount();
    const auto check = [&](const std::string& text, const std::string& path) {
        const ExtentSet places = image.find(text);
        ASSERT_GE(places.count(), 2u) << "metadata are there twice";
        Owners owners = image.owners_of(places);
        // What an older commit left is nobody's.
        EXPECT_EQ(owners[path], 2 * text.size());
        owners.erase(path);
        owners.erase("other");
        EXPECT_TRUE(owners.empty()) << owners.begin()->first;
    };
    check("A FEW WORDS IN A LEAF", "/folder/small");
    check("WHERE A LINK POINTS TO", "/folder/link");
}

TEST(BtrfsOwnersOfExtents, WhatWasOverwrittenIsNobodysAndWhatIsSharedIsNamedForAll) {
    Image image;
    image.mount();
    const std::string root = image.root();
    write_pieces(root + "/file", 256, 4096);
    image.sync();
    const std::vector<Extent> before = fiemap_of(root + "/file");
    ASSERT_EQ(before.size(), 1u);
    must_run({"dd", "if=/dev/zero", "of=" + root + "/file", "bs=4096", "seek=64", "count=64", "conv=notrunc",
              "status=none"});
    must_run({"cp", "--reflink=always", root + "/file", root + "/other"});
    must_run({"cp", "--reflink=always", root + "/file", root + "/other again"});
    must_run({"truncate", "-s", "4096", root + "/other again"});
    image.sync();
    image.unmount();
    const ByteOffset at = before.front().begin;
    const auto owners = [&](unsigned first, unsigned last) {
        return image.owners_of(image.places_of(Extent{at + first * 4096, at + last * 4096}));
    };
    EXPECT_EQ(owners(0, 1), (Owners{{"/file", 4096}, {"/other", 4096}, {"/other again", 4096}}));
    EXPECT_EQ(owners(10, 12), (Owners{{"/file", 8192}, {"/other", 8192}}));
    EXPECT_EQ(owners(64, 128), (Owners{{"other", 64 * 4096}}));
    EXPECT_EQ(owners(128, 129), (Owners{{"/file", 4096}, {"/other", 4096}}));
}

TEST(BtrfsOwnersOfExtents, EveryByteOfACompressedExtentIsTheFiles) {
    Image image;
    image.mount("compress-force=zstd");
    write_pieces(image.root() + "/packed", 300, 4096);
    image.sync();
    std::vector<ByteOffset> begins;
    for (const Extent piece : fiemap_of(image.root() + "/packed"))
        begins.push_back(piece.begin);
    image.unmount();
    ASSERT_GT(begins.size(), 5u);
    for (const ByteOffset begin : begins) {
        const ExtentSet sector = image.places_of(Extent{begin, begin + 4096});
        EXPECT_EQ(image.owners_of(sector), (Owners{{"/packed", 4096}})) << begin;
    }
}

TEST(BtrfsOwnersOfTrees, TheFilesystemsOwnBlocksAreNamedByTree) {
    Image image;
    image.mount("max_inline=0");
    make_files(image.root(), 30);
    image.unmount();
    const std::uint64_t size = Image::kSize;
    const Owners owners = image.owners_of({{0, size}});
    std::uint64_t sum = 0;
    for (const auto& [path, bytes] : owners)
        sum += bytes;
    EXPECT_EQ(sum, size);
    EXPECT_EQ(owners.at("(superblocks)"), 2 * 4096u);
    for (const char* tree : {"(extent tree)", "(chunk tree)", "(checksum tree)", "(tree of roots)"}) {
        EXPECT_GE(owners.at(tree), 2 * 16384u) << tree;
        EXPECT_EQ(owners.at(tree) % (2 * 16384u), 0u) << tree;
    }
    EXPECT_GT(owners.at("(file trees)"), 0u);
    EXPECT_GT(owners.at("/many"), 30u) << "its entries";
    EXPECT_FALSE(owners.contains("(other trees)"));
}

class DamagedBtrfsOwners : public testing::Test {
  protected:
    DamagedBtrfsOwners() : image_({"small", {"-n", "4096", "-m", "single"}}) {
        image_.mount("max_inline=0");
        make_files(image_.root(), 60);
        image_.sync();
        place_ = image_.places_of("/in one piece");
        image_.unmount();
        disk_ = std::make_unique<MemoryDevice>(load_file(image_.path()));
    }
    Image image_;
    ExtentSet place_;
    std::unique_ptr<MemoryDevice> disk_;
};

// Each tree in turn: names go, none is wrong, and there is a reason.
TEST_F(DamagedBtrfsOwners, ABlockThatCannotBeReadTakesItsOwnNamesOnly) {
    const ExtentSet all{{0, disk_->geometry().size_bytes}};
    const Owners before = by_path(find_owners(*disk_, "btrfs", all));
    // The metadata, as everything but the files' content.
    ExtentSet blocks;
    for (ByteOffset at = kMiB; at < disk_->geometry().size_bytes; at += 4096) {
        const auto block = std::span(disk_->bytes()->content).subspan(at, 4096);
        // struct btrfs_header: where it is, and what the bytes behind it are
        if (load_le<std::uint64_t>(block, 48) % 4096 == 0 && load_le<std::uint8_t>(block, 100) < 8 &&
            load_le<std::uint64_t>(block, 56) == 0x100000000000001)
            blocks.insert({at, at + 4096});
    }
    ASSERT_GT(blocks.total_bytes() / 4096, 20u);
    unsigned with_reason = 0;
    for (const Extent run : blocks)
        for (ByteOffset lost = run.begin; lost < run.end; lost += 2 * 4096) {
            disk_->set_interceptor([=](std::size_t, const Call& call) {
                if (call.extent.touches({lost, lost + 1})) throw_error(Code::kSourceIo, "EIO");
            });
            const layout::FileOwners found = find_owners(*disk_, "btrfs", all);
            const Owners owners = by_path(found);
            if (owners == before) continue;  // an old block
            EXPECT_NE(found.reason, "") << lost;
            ++with_reason;
            for (const auto& [path, bytes] : owners) {
                if (path.starts_with('(')) continue;
                const auto old = before.find(path);
                ASSERT_NE(old, before.end()) << path << " with the block at " << lost;
                EXPECT_LE(bytes, old->second) << path << " with the block at " << lost;
            }
        }
    EXPECT_GT(with_reason, 5u);
}

TEST_F(DamagedBtrfsOwners, FlippedBitsAreSurvivedAlsoBehindTheChecksums) {
    Bytes& content = disk_->bytes()->content;
    std::vector<ByteOffset> written;
    for (ByteOffset at = 64 * kKiB; at < content.size(); at += 4096)
        if (load_le<std::uint64_t>(content, at + 56) == 0x100000000000001) written.push_back(at);
    ASSERT_GT(written.size(), 20u);
    SeededRandom random(8);
    const SealedReader sealed(*disk_);
    for (unsigned round = 0; round < 50; ++round) {
        const ByteOffset at = written[random.below(written.size())] + 32 + random.below(4096 - 32);
        const auto bits = static_cast<std::byte>(1 + random.below(255));
        content[at] ^= bits;
        expect_sane(sealed, "btrfs", fmt::format("seed 8, round {}, byte {}", round, at));
        content[at] ^= bits;
    }
}

TEST(BadSectorsOfBtrfs, AreToldByFileInItsSubvolume) {
    Image image;
    image.mount();
    must_run({"btrfs", "subvolume", "create", image.root() + "/sub"});
    std::filesystem::create_directory(image.root() + "/sub/folder");
    write_pieces(image.root() + "/sub/folder/file", 500, 4096);
    image.sync();
    const ExtentSet places = image.places_of("/sub/folder/file");
    image.unmount();
    expect_named_to_the_user(image.scratch(), image.path(), places.begin()->end - 4096, "/sub/folder/file");
}

}  // namespace
}  // namespace dupengine::test
