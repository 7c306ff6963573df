#include "tests/support/owners.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <linux/fiemap.h>
#include <linux/fs.h>
#include <sys/ioctl.h>

#include <filesystem>
#include <nlohmann/json.hpp>

#include "base/fd.h"
#include "block/open.h"
#include "tests/support/fake_devices.h"
#include "tests/support/faulty_disk.h"

namespace dupengine::test {

layout::FileOwners find_owners(const block::Reader& part, const std::string& type,
                               const block::ExtentSet& places) {
    layout::Signature signature;
    signature.type = type;
    return layout::find_file_owners(part, signature, places);
}

Owners by_path(const layout::FileOwners& found) {
    Owners owners;
    for (const layout::FileOwner& file : found.files)
        owners[file.path] += file.bytes;
    return owners;
}

Owners owners_of(const std::string& image, const std::string& type, const block::ExtentSet& places) {
    const layout::FileOwners found = find_owners(*block::open_source(image), type, places);
    EXPECT_EQ(found.reason, "");
    Owners owners = by_path(found);
    if (found.other_bytes != 0) owners["other"] = found.other_bytes;
    return owners;
}

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

void expect_sane(const block::Reader& disk, const std::string& type, const std::string& line) {
    const block::ExtentSet all{{0, disk.geometry().size_bytes}};
    const layout::FileOwners found = find_owners(disk, type, all);
    EXPECT_LE(found.other_bytes, all.total_bytes()) << line;
    for (const layout::FileOwner& file : found.files)
        EXPECT_FALSE(file.path.empty()) << line;
}

void expect_named_to_the_user(const ScratchFolder& scratch, const std::string& image, ByteOffset lost,
                              const std::string& path) {
    const std::string target = scratch.sparse_file("target", std::filesystem::file_size(image));
    {
        const FaultyDisk faulty(scratch, image, {.sector = lost / 512, .on_read = true});
        const RunResult refused = run_dupengine({"copy", "--yes", "--progress=none", faulty.path(), target});
        EXPECT_EQ(refused.status, 4) << refused.err;
        EXPECT_NE(refused.err.find("the whole disk: "), std::string::npos) << refused.err;
        const RunResult saved = run_dupengine(
            {"copy", "--yes", "--json", "--progress=none", "--tolerate-bad-sectors", faulty.path(), target});
        ASSERT_EQ(saved.status, 0) << saved.err;
        const nlohmann::json report = nlohmann::json::parse(saved.out);
        EXPECT_EQ(report["result"], "bad sectors");
        // A page is lost, and with it the inodes beside.
        const std::string files = report["bad_sectors"][0]["files"].dump();
        EXPECT_NE(files.find('"' + path + '"'), std::string::npos) << files;
    }
    const RunResult differs = run_dupengine({"verify", "--json", "--progress=none", image, target});
    EXPECT_EQ(differs.status, 6) << differs.err;
    const nlohmann::json differences = nlohmann::json::parse(differs.out)["partitions"];
    ASSERT_EQ(differences.size(), 1u) << differs.out;
    EXPECT_NE(differences[0]["files"].dump().find('"' + path + '"'), std::string::npos) << differs.out;
}

}  // namespace dupengine::test
