// The names that a person is told are those that the real drivers give: files made on mounted filesystems,
// asked where they lie (FIEMAP, xfs_db, ntfsinfo), unmounted, and found again from their bytes alone.

#include <gtest/gtest.h>

#include <filesystem>
#include <sstream>

#include "base/fd.h"
#include "block/open.h"
#include "tests/support/aged_filesystem.h"
#include "tests/support/owners.h"

namespace dupengine::test {
namespace {

class XfsOwners : public testing::TestWithParam<std::vector<std::string>> {};

std::string make_xfs(const ScratchFolder& scratch, const std::vector<std::string>& arguments) {
    const std::string image = scratch.sparse_file("image", 128 * kMiB);
    std::vector<std::string> argv = {"mkfs.xfs", "-q", "-f", "--unsupported"};
    argv.insert(argv.end(), arguments.begin(), arguments.end());
    argv.push_back(image);
    must_run(argv);
    return image;
}

TEST_P(XfsOwners, EveryBlockHasTheNameThatTheKernelGaveIt) {
    const ScratchFolder scratch;
    const std::string image = make_xfs(scratch, GetParam()), root = scratch.file("mnt");
    block::ExtentSet places;
    Owners expected;
    {
        const LoopDevice loop(image);
        const Mount mount(loop.path(), root, "xfs");
        const std::vector<std::string> paths = make_files(root, 1200);
        must_run({"sync", "-f", root});
        for (std::size_t i = 0; i < paths.size(); i += i < 1100 ? 7 : 1)
            for (const block::Extent piece : fiemap_of(root + paths[i])) {
                places.insert(piece);
                expected[paths[i]] += piece.size();
            }
    }
    EXPECT_GT(expected["/sparse"], 1500u * 4096 - 1);
    EXPECT_EQ(owners_of(image, "xfs", places), expected);
}

INSTANTIATE_TEST_SUITE_P(Made, XfsOwners,
                         testing::ValuesIn(std::vector<std::vector<std::string>>{
                             {},
                             {"-b", "size=1024", "-n", "size=4096", "-i", "size=512,nrext64=1"},
                             {"-n", "size=16384", "-m", "rmapbt=1", "-i", "size=2048"},
                             {"-d", "agcount=1", "-i", "sparse=0"}}));

std::string xfs_db(const std::string& image, const std::string& where, const std::string& what) {
    return must_run({"xfs_db", "-r", "-c", where, "-c", what, image});
}

ByteOffset inode_place(const std::string& image, std::uint64_t inode) {
    const std::string address = xfs_db(image, fmt::format("convert ino {} fsbyte", inode), "quit");
    return std::stoull(address.substr(address.find('(') + 1));  // "0x10600 (67072)"
}

// A folder, a link and a small file may have no blocks of their own: they are lost with their inodes.
TEST(XfsOwners, AnInodeAndAFoldersBlocksAreTheFilesOwn) {
    const ScratchFolder scratch;
    const std::string image = make_xfs(scratch, {}), root = scratch.file("mnt");
    std::uint64_t folder = 0, link = 0;
    {
        const LoopDevice loop(image);
        const Mount mount(loop.path(), root, "xfs");
        std::filesystem::create_directories(root + "/folder");
        std::filesystem::create_symlink("target", root + "/folder/link");
        for (unsigned i = 0; i < 600; ++i)
            write_pieces(fmt::format("{}/folder/one of many files {}", root, i), 1, 4096);
        const auto inode_of = [&](const std::string& path) {
            return std::stoull(must_run({"stat", "--format=%i", path}));
        };
        folder = inode_of(root + "/folder");
        link = inode_of(root + "/folder/link");
    }
    // "data offset 0 startblock 24 (0/24) count 2 flag 0"
    const std::string map = xfs_db(image, fmt::format("inode {}", folder), "bmap");
    const ByteOffset block = std::stoull(map.substr(map.find("startblock") + 11)) * 4096;
    EXPECT_EQ(owners_of(image, "xfs", {{{block, block + 512}}}), (Owners{{"/folder", 512}}));
    const ByteOffset inode = inode_place(image, link);
    EXPECT_EQ(owners_of(image, "xfs", {{{inode, inode + 512}}}), (Owners{{"/folder/link", 512}}));
    EXPECT_EQ(owners_of(image, "xfs", {{{0, 512}}}), (Owners{{"(group headers)", 512}}));
}

// What is shared belongs to both, and is no more than itself.
TEST(XfsOwners, ASharedBlockIsNamedForEveryFileThatHasIt) {
    const ScratchFolder scratch;
    const std::string image = make_xfs(scratch, {}), root = scratch.file("mnt");
    block::ExtentSet places;
    {
        const LoopDevice loop(image);
        const Mount mount(loop.path(), root, "xfs");
        write_pieces(root + "/one", 1, 4096);
        must_run({"cp", "--reflink=always", root + "/one", root + "/other"});
        must_run({"sync", "-f", root});
        places.insert(fiemap_of(root + "/one").front());
    }
    EXPECT_EQ(owners_of(image, "xfs", places), (Owners{{"/one", 4096}, {"/other", 4096}}));
}

/// Where ntfscluster says that the content of a file lies. It prints a line for every record's piece of a
/// stream, "0x80 - non-resident", a heading, and then lines of VCN, LCN (negative: a hole) and length.
std::vector<block::Extent> ntfs_clusters(const std::string& image, const std::string& path,
                                         std::uint64_t cluster_bytes) {
    std::istringstream lines(must_run({"ntfscluster", "--force", "-F", path, image}));
    std::vector<block::Extent> pieces;
    bool is_content = false;
    for (std::string line; std::getline(lines, line);) {
        if (line.find("0x") != std::string::npos) is_content = line.find("0x80") != std::string::npos;
        std::istringstream numbers(line);
        std::int64_t first = 0, cluster = 0, count = 0;
        if (!is_content || !(numbers >> first >> cluster >> count) || cluster < 0) continue;
        const auto begin = static_cast<std::uint64_t>(cluster) * cluster_bytes;
        pieces.push_back({begin, begin + static_cast<std::uint64_t>(count) * cluster_bytes});
    }
    return pieces;
}

class NtfsOwners : public testing::TestWithParam<std::uint64_t> {};

TEST_P(NtfsOwners, EveryClusterHasTheNameThatNtfs3gGaveIt) {
    const std::uint64_t cluster = GetParam();
    const ScratchFolder scratch;
    const std::string image = scratch.sparse_file("image", 96 * kMiB), root = scratch.file("mnt");
    must_run({"mkntfs", "-q", "-F", "-Q", "-c", std::to_string(cluster), image});
    std::vector<std::string> paths;
    {
        const LoopDevice loop(image);
        const Mount mount(loop.path(), root, "ntfs-3g");
        paths = make_files(root, 200);
    }
    block::ExtentSet places;
    Owners expected;
    for (std::size_t i = 0; i < paths.size(); i += i < 190 ? 9 : 1)
        for (const block::Extent piece : ntfs_clusters(image, paths[i], cluster)) {
            places.insert(piece);
            expected[paths[i]] += piece.size();
        }
    EXPECT_GT(expected["/sparse"], 1500u * 4096 - 1);
    EXPECT_GT(expected["/in one piece"], 500u * 4096 - 1);
    EXPECT_EQ(owners_of(image, "ntfs", places), expected);
}

INSTANTIATE_TEST_SUITE_P(Made, NtfsOwners, testing::Values(512, 4096));

TEST(NtfsOwners, ASmallFileIsFoundInItsRecordAndSystemFilesHaveTheirNames) {
    const ScratchFolder scratch;
    const std::string image = scratch.sparse_file("image", 32 * kMiB), root = scratch.file("mnt");
    must_run({"mkntfs", "-q", "-F", "-Q", image});
    {
        const LoopDevice loop(image);
        const Mount mount(loop.path(), root, "ntfs-3g");
        std::filesystem::create_directory(root + "/folder");
        write_file_atomic(root + "/folder/small", as_bytes("A FEW WORDS IN THE RECORD"), 0644,
                          Code::kInternal);
    }
    const Bytes content = block::read_extent(*block::open_source(image), {0, 32 * kMiB});
    const std::size_t at = as_text(content).find("A FEW WORDS IN THE RECORD");
    ASSERT_NE(at, std::string::npos);
    EXPECT_EQ(owners_of(image, "ntfs", {{{at, at + 25}}}), (Owners{{"/folder/small", 25}}));
    for (const std::string name : {"/$MFTMirr", "/$LogFile", "/$Bitmap"}) {
        const block::Extent first = ntfs_clusters(image, name, 4096).at(0);
        EXPECT_EQ(owners_of(image, "ntfs", {{first}}), (Owners{{name, first.size()}}));
    }
    EXPECT_EQ(owners_of(image, "ntfs", {{{0, 16}}}), (Owners{{"/$Boot", 16}}));
}

TEST(BadSectorsOfXfs, AreToldByFileAlsoWhereItIsTheInodeThatIsLost) {
    const ScratchFolder scratch;
    const std::string image = make_xfs(scratch, {}), root = scratch.file("mnt");
    ByteOffset content = 0;
    std::string number;
    {
        const LoopDevice loop(image);
        const Mount mount(loop.path(), root, "xfs");
        make_files(root, 300);
        must_run({"sync", "-f", root});
        content = fiemap_of(root + "/in one piece").at(0).end - 4096;
        std::filesystem::create_directory(root + "/many/folder");
        number = must_run({"stat", "--format=%i", root + "/many/folder"});
    }
    expect_named_to_the_user(scratch, image, content, "/in one piece");
    expect_named_to_the_user(scratch, image, inode_place(image, std::stoull(number)), "/many/folder");
}

TEST(BadSectorsOfNtfs, AreToldByFile) {
    const ScratchFolder scratch;
    const std::string image = scratch.sparse_file("image", 96 * kMiB), root = scratch.file("mnt");
    must_run({"mkntfs", "-q", "-F", "-Q", image});
    {
        const LoopDevice loop(image);
        const Mount mount(loop.path(), root, "ntfs-3g");
        make_files(root, 30);
    }
    expect_named_to_the_user(scratch, image, ntfs_clusters(image, "/in one piece", 4096).at(0).end - 512,
                             "/in one piece");
}

}  // namespace
}  // namespace dupengine::test
