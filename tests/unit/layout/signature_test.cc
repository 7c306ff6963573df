// What is on a disk is told from its signatures, the same through a descriptor, a window or a fake.

#include "layout/signature.h"

#include <gtest/gtest.h>

#include "base/fd.h"
#include "block/open.h"
#include "tests/support/fake_devices.h"
#include "tests/support/filesystems.h"
#include "tests/support/sparse_reader.h"

namespace dupengine::test {
namespace {

constexpr const char* kUuid = "01234567-89ab-cdef-0123-456789abcdef";

TEST(Signature, TypeUuidAndLabelAreTheSameForAFileAWindowAndAFake) {
    const ScratchFolder scratch;
    const std::string image =
        make_ext(scratch, "image", 16 * kMiB, {"-t", "ext4", "-U", kUuid, "-L", "root"}, "");
    const auto file = block::open_source(image);
    const MemoryDevice memory(load_file(image));

    // The same filesystem behind 3 MiB of something else, seen through a window of a window.
    auto bytes = std::make_shared<DiskBytes>(24 * kMiB);
    std::copy(memory.bytes()->content.begin(), memory.bytes()->content.end(),
              bytes->content.begin() + 3 * kMiB);
    write_file_atomic(scratch.file("disk"), bytes->content, 0644, Code::kInternal);
    const auto disk = block::open_source(scratch.file("disk"));
    const block::Window outer(*disk, {kMiB, 20 * kMiB}, "outer");
    const block::Window inner(outer, {2 * kMiB, 18 * kMiB}, "inner");

    for (const auto& found :
         {layout::probe_signature(*file), layout::probe_signature(memory), layout::probe_signature(inner),
          layout::probe_signature(*disk, {3 * kMiB, 19 * kMiB}),
          layout::probe_signature(outer, {2 * kMiB, 18 * kMiB})}) {
        ASSERT_TRUE(found);
        EXPECT_EQ(found->type, "ext4");
        EXPECT_EQ(found->usage, "filesystem");
        EXPECT_EQ(found->uuid, kUuid);
        EXPECT_EQ(found->label, "root");
        EXPECT_EQ(found->version, "1.0");
    }
    EXPECT_FALSE(layout::probe_signature(*disk));
}

TEST(Signature, AnEmptyDiskHoldsNothing) {
    EXPECT_FALSE(layout::probe_signature(MemoryDevice(std::uint64_t{16 * kMiB})));
    EXPECT_FALSE(layout::probe_signature(MemoryDevice(std::uint64_t{512})));
    EXPECT_FALSE(layout::probe_signature(SparseReader(std::uint64_t{1} << 44)));
}

TEST(Signature, ASignatureAtTheEndOfALargeDiskIsFound) {
    // mdadm's version 1.0 superblock stands in the last 16 KiB.
    const std::uint64_t size = std::uint64_t{1} << 40, at = size - 16 * 512;
    SparseReader disk(size);
    Bytes super(256);
    store_le<std::uint32_t>(super, 0, 0xA92B4EFC);
    store_le<std::uint32_t>(super, 4, 1);
    store_le<std::uint64_t>(super, 144, at / 512);
    super[16] = std::byte{7};
    disk.put(at, super);
    const auto found = layout::probe_signature(disk);
    ASSERT_TRUE(found);
    EXPECT_EQ(found->type, "linux_raid_member");
    EXPECT_EQ(found->usage, "raid");
}

TEST(Signature, WhereTwoFormatsClaimThePartNothingIsAssumed) {
    const ScratchFolder scratch;
    const std::string image = make_ext(scratch, "image", 64 * kMiB, {"-t", "ext2"}, "");
    MemoryDevice disk(load_file(image));
    ASSERT_TRUE(layout::probe_signature(disk));
    const std::string swap = scratch.sparse_file("swap", 64 * kMiB);
    must_run({"mkswap", swap});
    const auto header = load_file(swap);
    std::copy_n(header->content.begin() + 1024, 100, disk.bytes()->content.begin() + 1024);
    disk.write(1024 + 56, as_bytes(std::string_view("\x53\xef", 2)));
    disk.write(4086, as_bytes("SWAPSPACE2"));
    EXPECT_FALSE(layout::probe_signature(disk));
}

TEST(Signature, APartThatPassesTheEndIsAnError) {
    const MemoryDevice disk(std::uint64_t{kMiB});
    EXPECT_THROW(layout::probe_signature(disk, {0, kMiB + 512}), Error);
}

TEST(UsedExtents, WhatHasNoReaderIsCopiedWholeAndSaysSo) {
    const MemoryDevice disk(std::uint64_t{kMiB});
    const auto nothing = layout::find_used_extents(disk, std::nullopt);
    EXPECT_TRUE(nothing.whole);
    EXPECT_EQ(nothing.reason, "nothing recognised here");
    const auto jfs = used_as(disk, "jfs");
    EXPECT_TRUE(jfs.whole);
    EXPECT_EQ(jfs.reason, "no reader for jfs; copied whole");
    for (const auto& used : {nothing, jfs})
        EXPECT_EQ(used.used, block::ExtentSet({{0, kMiB}}));
}

TEST(UsedExtents, ASignatureThatIsWrongAboutTheContentIsCopiedWhole) {
    const MemoryDevice disk(std::uint64_t{kMiB});
    for (const char* type : {"btrfs", "exfat", "ext4", "f2fs", "ntfs", "swap", "vfat", "xfs"}) {
        const auto used = used_as(disk, type);
        EXPECT_TRUE(used.whole) << type;
        EXPECT_EQ(used.reason.rfind(std::string(type) + ": ", 0), 0u) << used.reason;
    }
}

}  // namespace
}  // namespace dupengine::test
