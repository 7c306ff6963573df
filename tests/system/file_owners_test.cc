// The names that a person is told are those that the real drivers give: files made on mounted filesystems,
// asked where they lie (FIEMAP, xfs_db, ntfsinfo), unmounted, and found again from their bytes alone.

#include <fcntl.h>
#include <gtest/gtest.h>
#include <linux/fiemap.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <filesystem>
#include <map>

#include "base/fd.h"
#include "block/open.h"
#include "layout/file_owners.h"
#include "tests/support/aged_filesystem.h"
#include "tests/support/fake_devices.h"
#include "tests/support/filesystems.h"

namespace dupengine::test {
namespace {

using Owners = std::map<std::string, std::uint64_t>;

Owners owners_of(const std::string& image, const std::string& type, const block::ExtentSet& places) {
    layout::Signature signature;
    signature.type = type;
    const layout::FileOwners found =
        layout::find_file_owners(*block::open_source(image), signature, places);
    EXPECT_EQ(found.reason, "");
    Owners owners;
    for (const layout::FileOwner& owner : found.files)
        owners[owner.path] += owner.bytes;
    if (found.other_bytes != 0) owners["other"] = found.other_bytes;
    return owners;
}

/// The pieces of a file on its device, as the kernel tells them.
std::vector<block::Extent> fiemap_of(const std::string& path) {
    constexpr unsigned kMost = 4096;
    const Fd fd = open_path(path, O_RDONLY, Code::kInternal);
    std::vector<std::uint64_t> room((sizeof(fiemap) + kMost * sizeof(fiemap_extent)) / 8 + 1);
    auto* map = reinterpret_cast<fiemap*>(room.data());
    map->fm_length = FIEMAP_MAX_OFFSET;
    map->fm_flags = FIEMAP_FLAG_SYNC;
    map->fm_extent_count = kMost;
    if (::ioctl(fd.get(), FS_IOC_FIEMAP, map) != 0) throw_errno(Code::kInternal, errno, "{}: FIEMAP", path);
    std::vector<block::Extent> pieces;
    for (unsigned i = 0; i < map->fm_mapped_extents; ++i) {
        const fiemap_extent& e = map->fm_extents[i];
        pieces.push_back({e.fe_physical, e.fe_physical + e.fe_length});
    }
    return pieces;
}

void write_pieces(const std::string& path, unsigned pieces, std::uint64_t step) {
    const Fd fd = open_path(path, O_WRONLY | O_CREAT, Code::kInternal);
    Bytes content(4096);
    fill_pattern(content, pieces);
    for (unsigned i = 0; i < pieces; ++i)
        pwrite_exact(fd.get(), i * step, content, Code::kInternal, path);
}

/// Files in one piece and in thousands, with holes, deep down and one of many.
std::vector<std::string> make_files(const std::string& root, unsigned many) {
    std::vector<std::string> paths;
    std::string deep;
    for (unsigned i = 0; i < 40; ++i)
        deep += fmt::format("/a folder with a long name at depth {}", i);
    std::filesystem::create_directories(root + deep);
    std::filesystem::create_directory(root + "/many");
    paths.push_back(deep + "/file");
    for (unsigned i = 0; i < many; ++i)
        paths.push_back(fmt::format("/many/a file with a name that fills the folder, number {}", i));
    for (const std::string& path : paths)
        write_pieces(root + path, 1, 4096);
    write_pieces(root + "/in one piece", 500, 4096);
    write_pieces(root + "/sparse", 1500, 16 * kKiB);
    paths.insert(paths.end(), {"/in one piece", "/sparse"});
    return paths;
}

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

}  // namespace
}  // namespace dupengine::test
