// Whose bytes they are, on filesystems that no kernel here mounts any more (XFS of version 4), on damaged
// ones, and on disks that claim what cannot be. tests/system/file_owners_test.cc holds names against the
// drivers'.

#include <gtest/gtest.h>

#include "base/fd.h"
#include "base/random.h"
#include "block/open.h"
#include "layout/owner_tally.h"
#include "tests/support/fake_devices.h"
#include "tests/support/filesystems.h"
#include "tests/support/ntfs_editor.h"
#include "tests/support/owners.h"

namespace dupengine::test {
namespace {

// Files in a folder, in a folder in it, and in a chain of folders, put in by mkfs.xfs itself.
std::string make_xfs(const ScratchFolder& scratch, const std::vector<std::string>& arguments, unsigned many) {
    Bytes content(9000);
    fill_pattern(content, 1);
    write_file_atomic(scratch.file("content"), content, 0644, Code::kInternal);
    std::string text = "//\n0 0\nd--755 0 0\nfolder d--755 0 0\n";
    for (unsigned i = 0; i < many; ++i)
        text += fmt::format("file_{} ---644 0 0 {}\n", i, scratch.file("content"));
    text += "$\n";
    for (unsigned depth = 0; depth < 20; ++depth)
        text += fmt::format("deep_{} d--755 0 0\n", depth);
    text += fmt::format("file ---644 0 0 {}\n", scratch.file("content"));
    for (unsigned depth = 0; depth < 20; ++depth)
        text += "$\n";
    write_file_atomic(scratch.file("prototype"), as_bytes(text + "$\n$\n"), 0644, Code::kInternal);
    const std::string image = scratch.sparse_file("image", 64 * kMiB);
    std::vector<std::string> argv = {"mkfs.xfs",      "-q", "-f",
                                     "--unsupported", "-p", scratch.file("prototype")};
    argv.insert(argv.end(), arguments.begin(), arguments.end());
    argv.push_back(image);
    must_run(argv);
    return image;
}

// "data offset 0 startblock 13 (0/13) count 3 flag 0"; the number in parentheses counts in the group.
block::Extent xfs_db_place(const std::string& image, const std::string& path, std::uint64_t group_bytes,
                           std::uint64_t block_bytes) {
    const std::string text = must_run({"xfs_db", "-r", "-c", "path " + path, "-c", "bmap", image});
    const std::size_t pair = text.find('('), slash = text.find('/', pair), count = text.find("count ");
    if (count == std::string::npos) throw_error(Code::kInternal, "xfs_db: {}", text);
    const ByteOffset at =
        std::stoull(text.substr(pair + 1)) * group_bytes + std::stoull(text.substr(slash + 1)) * block_bytes;
    return {at, at + std::stoull(text.substr(count + 6)) * block_bytes};
}

struct XfsVariant {
    const char* name;
    std::vector<std::string> arguments;
};

void PrintTo(const XfsVariant& variant, std::ostream* out) {
    *out << variant.name;
}

class XfsOwners : public testing::TestWithParam<XfsVariant> {};

TEST_P(XfsOwners, AFilesBlocksHaveItsName) {
    const ScratchFolder scratch;
    const std::string image = make_xfs(scratch, GetParam().arguments, 400);
    const auto part = block::open_source(image);
    const Bytes super = block::read_extent(*part, {0, 512});
    const std::uint64_t block = load_be<std::uint32_t>(super, 4), group = load_be<std::uint32_t>(super, 84);
    std::string deep;
    for (unsigned depth = 0; depth < 20; ++depth)
        deep += fmt::format("/deep_{}", depth);
    block::ExtentSet places;
    Owners expected;
    for (const std::string& path : {deep + "/file", std::string("/folder/file_0"),
                                    std::string("/folder/file_200"), std::string("/folder/file_399")}) {
        const block::Extent place = xfs_db_place(image, path, group * block, block);
        places.insert(place);
        expected[path] = place.size();
    }
    const layout::FileOwners found = find_owners(*part, "xfs", places);
    EXPECT_EQ(found.reason, "");
    EXPECT_EQ(by_path(found), expected);
    EXPECT_EQ(found.other_bytes, 0u);
}

const XfsVariant kVariants[] = {
    {"version_4", {"-m", "crc=0"}},
    {"version_4_without_file_types", {"-m", "crc=0", "-n", "ftype=0"}},
    {"version_4_with_blocks_of_512", {"-m", "crc=0", "-b", "size=512", "-i", "size=256"}},
    {"version_5", {}},
    {"blocks_of_64K_hold_more_than_one_chunk", {"-b", "size=65536", "-d", "agcount=1"}},
};

INSTANTIATE_TEST_SUITE_P(Made, XfsOwners, testing::ValuesIn(kVariants),
                         [](const auto& variant) { return std::string(variant.param.name); });

TEST(XfsOwners, AFileWhoseInodeCannotBeReadIsNamedAndHidesNoOther) {
    const ScratchFolder scratch;
    const std::string image = make_xfs(scratch, {"-d", "agcount=1"}, 200);
    MemoryDevice disk(load_file(image));
    const block::ExtentSet all{{0, disk.geometry().size_bytes}};
    Owners expected = by_path(find_owners(disk, "xfs", all));
    EXPECT_EQ(expected.at("/folder/file_100"), 3 * 4096u + 512) << "its blocks and its inode";
    const std::string stack = must_run({"xfs_db", "-r", "-c", "path /folder/file_100", "-c", "stack", image}),
                      field = "byte offset ";
    const ByteOffset lost = std::stoull(stack.substr(stack.find(field) + field.size()));
    disk.set_interceptor([=](std::size_t, const Call& call) {
        if (call.extent.touches({lost, lost + 1})) throw_error(Code::kSourceIo, "EIO");
    });
    const layout::FileOwners found = find_owners(disk, "xfs", all);
    expected["/folder/file_100"] = 512;
    EXPECT_EQ(by_path(found), expected);
    EXPECT_EQ(found.reason, layout::kNamesMayBeMissing);
}

// Links of the same names in two folders that contain each other, and a chain without an end.
class Loop final : public layout::Folders {
  public:
    void for_each(const std::function<void(std::uint64_t)>& on_folder) override {
        for (const std::uint64_t folder : {1, 2, 3})
            on_folder(folder);
    }
    void read(std::uint64_t folder, const OnEntry& on_entry) override {
        ++reads;
        if (folder == 2 && on_entry(3, "..") && on_entry(3, "to 3") && on_entry(7, "file")) return;
        if (folder == 3 && on_entry(2, "..")) on_entry(2, "to 2");
    }
    unsigned reads = 0;
};

TEST(OwnerTally, FoldersThatContainEachOtherEndSomewhere) {
    const block::ExtentSet places{{{0, 100}}};
    layout::OwnerTally tally(places);
    tally.add(7, {0, 60});
    tally.add(7, {50, 60});
    tally.add_structure("(log)", {90, 200});
    Loop loop;
    const auto names = layout::find_names(loop, 1, tally);
    EXPECT_LT(loop.reads, 20u);
    const layout::FileOwners owners =
        tally.name(1, "inode", [&](std::uint64_t file) -> std::optional<layout::NameInFolder> {
            const auto found = names.find(file);
            if (found == names.end()) return {};
            return found->second;
        });
    ASSERT_EQ(owners.files.size(), 2u);
    EXPECT_EQ(owners.files[0].path, "(inode 2)/to 3/to 2/file");
    EXPECT_EQ(owners.files[0].bytes, 70u);
    EXPECT_EQ(owners.files[1].path, "(log)");
    EXPECT_EQ(owners.files[1].bytes, 10u);
    EXPECT_EQ(owners.other_bytes, 20u);
}

TEST(OwnerTally, AMillionFilesOnTheSamePlacesTakeLittleTimeAndMemory) {
    block::ExtentSet places;
    for (ByteOffset at = 0; at < 100000; ++at)
        places.insert({at * 1000, at * 1000 + 10});
    layout::OwnerTally tally(places);
    for (std::uint64_t file = 0; file < 1000000; ++file)
        tally.add(file, {file, 100000000});
    EXPECT_EQ(tally.bytes_of_files().size(), layout::OwnerTally::kFileLimit);
    const layout::FileOwners owners = tally.name(0, "inode", [](std::uint64_t file) {
        return std::optional<layout::NameInFolder>({file + 1, std::string(200, 'x')});
    });
    std::uint64_t text = 0;
    for (const layout::FileOwner& file : owners.files)
        text += file.path.size();
    EXPECT_LT(text, 20 * kMiB);
    EXPECT_EQ(owners.files.front().path.substr(0, 15), "(further files)");
}

TEST(DamagedOwners, FlippedBitsInAVersion4XfsAreSurvived) {
    const ScratchFolder scratch;
    const MemoryDevice disk(load_file(make_xfs(scratch, {"-m", "crc=0", "-b", "size=1024"}, 60)));
    Bytes& content = disk.bytes()->content;
    std::vector<ByteOffset> written;  // sectors that hold anything
    for (ByteOffset at = 0; at < content.size() / 4; at += 512)
        if (!is_zero(std::span(content).subspan(at, 512))) written.push_back(at);
    SeededRandom random(3);
    for (unsigned round = 0; round < 60; ++round) {
        const ByteOffset at =
            written[random.below(std::min<std::uint64_t>(written.size(), 200))] + random.below(512);
        const auto bits = static_cast<std::byte>(1 + random.below(255));
        content[at] ^= bits;
        expect_sane(disk, "xfs", fmt::format("seed 3, round {}, byte {}", round, at));
        content[at] ^= bits;
    }
}

TEST(DamagedOwners, FlippedBitsInNtfsAreSurvived) {
    const ScratchFolder scratch;
    const MemoryDevice disk(load_file(make_ntfs(scratch, "image", 24 * kMiB, {"-c", "1024"})));
    Bytes& content = disk.bytes()->content;
    const NtfsEditor original(content);
    SeededRandom random(4);
    for (unsigned round = 0; round < 300; ++round) {
        const ByteOffset at = original.record_at(random.below(12)) + random.below(1024);
        const auto bits = static_cast<std::byte>(1 + random.below(255));
        content[at] ^= bits;
        expect_sane(disk, "ntfs", fmt::format("seed 4, round {}, byte {}", round, at));
        content[at] ^= bits;
    }
}

TEST(NtfsOwners, AnUnreadableRecordIsTheTablesAndHidesNoOtherNames) {
    const ScratchFolder scratch;
    MemoryDevice disk(load_file(make_ntfs(scratch, "image", 24 * kMiB, {"-c", "1024"})));
    const NtfsEditor editor(disk.bytes()->content);
    const ByteOffset lost = editor.record_at(9), log = editor.first_byte_of(2);
    disk.set_interceptor([=](std::size_t, const Call& call) {
        if (call.extent.touches({lost, lost + 1})) throw_error(Code::kSourceIo, "EIO");
    });
    const layout::FileOwners found = find_owners(disk, "ntfs", {{lost, lost + 512}, {log, log + 512}});
    EXPECT_EQ(by_path(found), (Owners{{"/$LogFile", 512}, {"/$MFT", 512}}));
    EXPECT_EQ(found.reason, layout::kNamesMayBeMissing);
}

TEST(Owners, AFilesystemThatCannotBeReadAtAllHasAReasonAndNoError) {
    MemoryDevice disk(kMiB);
    disk.set_interceptor([](std::size_t, const Call&) { throw_error(Code::kSourceIo, "EIO"); });
    for (const char* type : {"btrfs", "exfat", "ext4", "ntfs", "vfat", "xfs", "zfs"}) {
        const layout::FileOwners found = find_owners(disk, type, {{0, 512}});
        EXPECT_TRUE(found.files.empty());
        EXPECT_NE(found.reason, "") << type;
        EXPECT_EQ(found.other_bytes, 512u);
    }
}

}  // namespace
}  // namespace dupengine::test
