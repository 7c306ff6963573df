// A member of a Linux RAID looks like a filesystem, where the array's own superblock is at its end: it must
// never be taken for one.

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <linux/raid/md_p.h>

#include <cstddef>

#include "base/fd.h"
#include "tests/support/disk_image.h"
#include "tests/support/filesystems.h"

namespace dupengine::test {
namespace {

using testing::HasSubstr;

constexpr std::uint64_t kSize = 32 * kMiB;

// linux/raid/md_p.h: a sum of 32-bit words, with its own field as zero.
std::uint32_t checksum_of(std::span<const std::byte> bytes) {
    std::uint64_t sum = 0;
    for (std::size_t at = 0; at < bytes.size(); at += 4)
        sum += load_le<std::uint32_t>(bytes, at);
    return static_cast<std::uint32_t>(sum) + static_cast<std::uint32_t>(sum >> 32);
}

// The superblock of the first of two disks of a RAID 1, at this place: 1.2 is at 4 KiB, 1.0 near the end.
void write_superblock(const std::string& disk, ByteOffset place, std::uint64_t data_begin) {
    mdp_superblock_1 super{};
    super.magic = MD_SB_MAGIC;
    super.major_version = 1;
    std::fill(std::begin(super.set_uuid), std::end(super.set_uuid), 0x5A);
    std::fill(std::begin(super.device_uuid), std::end(super.device_uuid), 0xA5);
    super.level = 1;
    super.size = super.data_size = (kSize - 2 * kMiB) / 512;
    super.data_offset = data_begin / 512;
    super.super_offset = place / 512;
    super.raid_disks = super.max_dev = 2;
    constexpr std::size_t kRoles = offsetof(mdp_superblock_1, dev_roles);
    Bytes bytes(kRoles + 2 * sizeof(std::uint16_t));
    std::memcpy(bytes.data(), &super, kRoles);
    bytes[kRoles + 2] = std::byte{1};  // the second disk has the role 1
    store_le<std::uint32_t>(bytes, offsetof(mdp_superblock_1, sb_csum), checksum_of(bytes));
    const Fd fd = open_path(disk, O_RDWR, Code::kInternal);
    pwrite_exact(fd.get(), place, bytes, Code::kInternal, disk);
}

void expect_copied_whole(const ScratchFolder& folder, const std::string& member) {
    EXPECT_THAT(must_run({"mdadm", "--examine", member}), HasSubstr("- correct")) << "mdadm does not know it";
    const Look look = look_at(member);
    ASSERT_TRUE(look.signature);
    EXPECT_EQ(look.signature->type, "linux_raid_member");
    EXPECT_TRUE(look.used.whole);
    EXPECT_EQ(look.used.reason, "a member of a RAID");
    const std::string copy = folder.sparse_file("copy.img", kSize);
    fill_with_old_data(copy, kSize);
    const RunResult copied = run_dupengine({"copy", "--yes", member, copy});
    ASSERT_EQ(copied.status, 0) << copied.err;
    EXPECT_EQ(run_program({"cmp", member, copy}).status, 0);
}

struct RaidMember : testing::Test {
    ScratchFolder folder;
    std::string member =
        make_ext(folder, "member.img", kSize - 2 * kMiB, {"-t", "ext4"}, make_tree(folder, "tree", 1));

    // In blocks that the filesystem does not use.
    void SetUp() override {
        const auto free = look_at(member).used.used.gaps_in({0, kSize - 2 * kMiB});
        ASSERT_FALSE(free.empty());
        must_run({"truncate", "-s", std::to_string(kSize), member});
        const Fd fd = open_path(member, O_RDWR, Code::kInternal);
        pwrite_exact(fd.get(), free.begin()->begin, as_bytes(kDeletedText), Code::kInternal, member);
    }
};

TEST_F(RaidMember, WithItsSuperblockBehindTheDataIsNotTakenForItsFilesystem) {
    ASSERT_EQ(look_at(member).signature->type, "ext4") << "the test shows nothing";
    write_superblock(member, (kSize - 8 * kKiB) / 4096 * 4096, 0);
    expect_copied_whole(folder, member);
    EXPECT_TRUE(file_contains(folder.file("copy.img"), kDeletedText));
}

TEST_F(RaidMember, WithItsSuperblockInFrontOfTheDataIsCopiedWhole) {
    const std::string moved = folder.sparse_file("moved.img", kSize);
    must_run(
        {"dd", "status=none", "bs=1M", "seek=1", "count=30", "conv=notrunc", "if=" + member, "of=" + moved});
    write_superblock(moved, 4096, kMiB);
    expect_copied_whole(folder, moved);
}

}  // namespace
}  // namespace dupengine::test
