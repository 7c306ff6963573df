#include "block/guard.h"

#include <gtest/gtest.h>

#include "tests/support/fake_devices.h"

namespace dupengine::block {
namespace {

using test::MemoryDevice;

struct GuardedDisk {
    std::shared_ptr<test::DiskBytes> bytes = std::make_shared<test::DiskBytes>(64 * kKiB);
    Target target;
    explicit GuardedDisk(ProtectedRegions regions)
        : target(std::make_unique<MemoryDevice>(bytes), std::move(regions)) {}
};

ProtectedRegions profile_at(Extent extent) {
    ProtectedRegions regions;
    regions.add("profile", extent);
    return regions;
}

template <typename Work>
Code code_of(Work&& work) {
    try {
        work();
    } catch (const Error& e) {
        return e.code();
    }
    return Code{0};
}

TEST(Guard, RefusesAWriteThatTouchesTheProfile) {
    GuardedDisk disk(profile_at({4096, 8192}));
    const Bytes sector(512, std::byte{1});
    const Bytes wide(8192, std::byte{1});
    for (const ByteOffset offset : {4096u, 7680u})
        EXPECT_EQ(code_of([&] { disk.target.write(offset, sector); }), Code::kRefused) << offset;
    EXPECT_EQ(code_of([&] { disk.target.write(512, wide); }), Code::kRefused) << "starts before, reaches in";
    EXPECT_EQ(code_of([&] { disk.target.write(0, Bytes(64 * kKiB)); }), Code::kRefused) << "covers it";
    EXPECT_EQ(code_of([&] { disk.target.zero({7680, 8704}, Device::Zeroing::kDeallocate); }), Code::kRefused);
    EXPECT_TRUE(is_zero(disk.bytes->content)) << "something was written";
    EXPECT_EQ(disk.target.bytes_written() + disk.target.bytes_zeroed(), 0u);
}

TEST(Guard, LetsNeighbouringSectorsThrough) {
    GuardedDisk disk(profile_at({4096, 8192}));
    const Bytes sector(512, std::byte{1});
    disk.target.write(3584, sector);
    disk.target.write(8192, sector);
    disk.target.zero({8192, 8704}, Device::Zeroing::kAllocate);
    EXPECT_EQ(disk.target.bytes_written(), 1024u);
    EXPECT_EQ(disk.target.bytes_zeroed(), 512u);
    EXPECT_EQ(disk.bytes->content[3584], std::byte{1});
    EXPECT_EQ(disk.bytes->content[8192], std::byte{0});
}

TEST(Guard, RefusesWritesPastTheEndAndHalfSectors) {
    GuardedDisk disk({});
    EXPECT_EQ(code_of([&] { disk.target.write(64 * kKiB - 512, Bytes(1024)); }), Code::kInternal);
    EXPECT_EQ(
        code_of([&] { disk.target.write(std::numeric_limits<std::uint64_t>::max() - 100, Bytes(512)); }),
        Code::kInternal);
    EXPECT_EQ(code_of([&] { disk.target.write(100, Bytes(512)); }), Code::kInternal);
}

TEST(Guard, ARegionThatPassesTheEndOfTheDiskIsRefusedAtOnce) {
    EXPECT_EQ(code_of([] { GuardedDisk disk(profile_at({60 * kKiB, 65 * kKiB})); }), Code::kRefused);
}

TEST(Guard, OnePartitionOpenMeansAllElseIsShut) {
    GuardedDisk disk(ProtectedRegions::all_except(Extent{4096, 8192}, 64 * kKiB, "the profile"));
    const Bytes sector(512, std::byte{1});
    disk.target.write(4096, sector);
    EXPECT_EQ(code_of([&] { disk.target.write(3584, sector); }), Code::kRefused);
    EXPECT_EQ(code_of([&] { disk.target.write(8192, sector); }), Code::kRefused);
    EXPECT_EQ(code_of([&] { disk.target.write(7680, Bytes(1024)); }), Code::kRefused);
}

TEST(Guard, AFailedWriteIsNotCountedAsWritten) {
    auto device = std::make_unique<MemoryDevice>(64 * kKiB);
    device->set_interceptor([](std::size_t, const test::Call&) { throw_error(Code::kTargetIo, "no"); });
    Target target(std::move(device), {});
    EXPECT_EQ(code_of([&] { target.write(0, Bytes(512)); }), Code::kTargetIo);
    EXPECT_EQ(target.bytes_written(), 0u);
}

TEST(Window, NeverReadsOutsideItsPart) {
    MemoryDevice disk(64 * kKiB);
    disk.bytes()->content[4096] = std::byte{7};
    const Window part(disk, {4096, 8192}, "partition 1");
    EXPECT_EQ(part.geometry().size_bytes, 4096u);
    EXPECT_EQ(read_extent(part, {0, 1})[0], std::byte{7});
    EXPECT_EQ(code_of([&] { read_extent(part, {4000, 4097}); }), Code::kSourceIo);
    EXPECT_EQ(code_of([&] { Window(disk, {60 * kKiB, 70 * kKiB}, "too long"); }), Code::kSourceIo);
}

}  // namespace
}  // namespace dupengine::block
