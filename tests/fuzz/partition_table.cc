// Partition tables of hostile disks. An input is a byte of flags, a byte for the disk's size, two bytes that
// say how much of the rest lies at its end; everything else of the disk is zeros.
//   flags 1: sectors of 4096 bytes   2: a block device   4: make the checksums of both GPT headers right

#include "layout/partition_table.h"

#include "tests/fuzz/fuzz_disk.h"

namespace dupengine::fuzz {
namespace {

constexpr std::size_t kPrefix = 4;
constexpr unsigned kLargeSectors = 1, kBlockDevice = 2, kMendChecksums = 4;

// A fuzzer does not find a CRC by chance; behind right ones are the checks that matter.
void mend_checksums(Bytes& disk, std::uint64_t header_at, std::uint64_t sector_bytes) {
    const auto sector = std::span(disk).subspan(header_at, sector_bytes);
    const std::uint64_t lba = load_le<std::uint64_t>(sector, 72);
    const std::uint64_t size =
        std::uint64_t{load_le<std::uint32_t>(sector, 80)} * load_le<std::uint32_t>(sector, 84);
    if (lba < disk.size() / sector_bytes && size <= disk.size() - lba * sector_bytes)
        store_le<std::uint32_t>(sector, 88, crc32(std::span(disk).subspan(lba * sector_bytes, size)));
    const std::uint32_t header_bytes = load_le<std::uint32_t>(sector, 12);
    if (header_bytes < 92 || header_bytes > sector_bytes) return;
    store_le<std::uint32_t>(sector, 16, 0);
    store_le<std::uint32_t>(sector, 16, crc32(sector.first(header_bytes)));
}

FuzzDisk disk_of(std::span<const std::byte> input) {
    const unsigned flags = load_le<std::uint8_t>(input, 0);
    const std::uint32_t sector = (flags & kLargeSectors) != 0 ? 4096 : 512;
    const auto content = input.subspan(kPrefix);
    const std::size_t tail = std::min<std::size_t>(load_le<std::uint16_t>(input, 2), content.size());
    Bytes disk(content.size() + std::size_t{load_le<std::uint8_t>(input, 1)} * sector);
    place(disk, 0, content.first(content.size() - tail));
    place(disk, disk.size() - tail, content.last(tail));
    if ((flags & kMendChecksums) != 0 && disk.size() / sector >= 3) {
        mend_checksums(disk, sector, sector);
        mend_checksums(disk, disk.size() / sector * sector - sector, sector);
    }
    return {std::move(disk), sector, (flags & kBlockDevice) != 0};
}

void check_sane(const layout::PartitionTable& table, std::uint64_t size) {
    block::ExtentSet seen;
    unsigned last = 0;
    for (const layout::Partition& p : table.partitions) {
        require(p.number > last, "numbers ascend");
        require(!p.extent.empty() && p.extent.begin > 0 && p.extent.end <= size,
                "partitions lie on the disk");
        require(!seen.touches(p.extent), "partitions do not overlap");
        seen.insert(p.extent);
        last = p.number;
    }
}

// The table on another disk, unless it does not fit: the same partitions, and nothing to complain about.
void check_round_trip(const layout::PartitionTable& table, FuzzDisk& disk, std::uint64_t size,
                      bool must_fit) {
    layout::TableImage image;
    try {
        image = layout::encode_table(table, size);
    } catch (const Error& e) {
        require(e.code() == Code::kRefused && !must_fit, "what was read can be written");
        return;
    }
    const block::ExtentSet places = layout::table_extents(table, size);
    disk.content().assign(size, std::byte{0});
    for (const auto* pieces : {&image.primary, &image.backup})
        for (const auto& piece : *pieces) {
            require(places.contains({piece.offset, piece.offset + piece.content.size()}),
                    "only table sectors");
            place(disk.content(), piece.offset, piece.content);
        }
    const block::Geometry geometry = disk.geometry();
    const FuzzDisk copy(disk.content(), geometry.logical_sector_bytes, geometry.is_block_device);
    const layout::PartitionTable again = layout::read_partition_table(copy);
    require(again.kind == table.kind && again.partitions == table.partitions, "the same partitions");
    require(again.primary_valid && again.backup_valid, "both copies are whole");
}

void run(std::span<const std::byte> input) {
    FuzzDisk disk = disk_of(input);
    layout::PartitionTable table;
    try {
        table = layout::read_partition_table(disk);
    } catch (const Error& e) {
        require(e.code() == Code::kIntegrity, "damage is an error of integrity");
        return;
    }
    const std::uint64_t size = disk.geometry().size_bytes;
    check_sane(table, size);
    if (table.kind == layout::TableKind::kNone) return;
    const bool whole =
        table.kind == layout::TableKind::kMbr || (table.backup_valid && table.problems.empty());
    check_round_trip(table, disk, size, whole);
    check_round_trip(table, disk, size + 65536, whole);
}

}  // namespace
}  // namespace dupengine::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    if (size >= dupengine::fuzz::kPrefix) dupengine::fuzz::run(std::as_bytes(std::span(data, size)));
    return 0;
}
