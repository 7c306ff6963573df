// Hostile disks as firmware sees them: the mark of a cut copy, of which an input is the text, and the
// partition table with the profile stores of its partitions. For these an input is a byte of flags, a byte
// for the disk's size, two bytes that say how much of the rest lies at its end; everything else of the disk
// is zeros. Checksums are made right, because a fuzzer does not find them by chance.
//   flags 1: sectors of 4096 bytes   2: checksums stay as they are

#include "tests/support/efi_disk.h"

#include "efi/core/mark.h"
#include "efi/core/slot.h"
#include "layout/incomplete_mark.h"
#include "layout/partition_table.h"
#include "tests/fuzz/fuzz_disk.h"

namespace dupengine::fuzz {
namespace {

constexpr std::size_t kPrefix = 4;
constexpr unsigned kLargeSectors = 1, kKeepChecksums = 2;

void mend_table(Bytes& disk, std::uint64_t header_at, std::uint64_t sector_bytes) {
    const auto sector = std::span(disk).subspan(header_at, sector_bytes);
    const auto lba = load_le<std::uint64_t>(sector, 72);
    const std::uint64_t size =
        std::uint64_t{load_le<std::uint32_t>(sector, 80)} * load_le<std::uint32_t>(sector, 84);
    if (lba < disk.size() / sector_bytes && size <= disk.size() - lba * sector_bytes)
        store_le<std::uint32_t>(sector, 88, crc32(std::span(disk).subspan(lba * sector_bytes, size)));
    const auto header_bytes = load_le<std::uint32_t>(sector, 12);
    if (header_bytes < 92 || header_bytes > sector_bytes) return;
    store_le<std::uint32_t>(sector, 16, 0);
    store_le<std::uint32_t>(sector, 16, crc32(sector.first(header_bytes)));
}

Bytes content_of(std::span<const std::byte> input, std::uint32_t sector, bool mend) {
    const auto content = input.subspan(kPrefix);
    const std::size_t tail = std::min<std::size_t>(load_le<std::uint16_t>(input, 2), content.size());
    Bytes disk(content.size() + std::size_t{load_le<std::uint8_t>(input, 1)} * sector * 32);
    disk.resize(disk.size() / sector * sector);
    const auto put = [&](std::size_t at, std::span<const std::byte> part) {
        const std::size_t size = at < disk.size() ? std::min(part.size(), disk.size() - at) : 0;
        std::copy_n(part.begin(), size, disk.begin() + static_cast<std::ptrdiff_t>(at));
    };
    put(0, content.first(content.size() - tail));
    if (tail <= disk.size()) put(disk.size() - tail, content.last(tail));
    if (mend && disk.size() / sector >= 3) {
        mend_table(disk, sector, sector);
        mend_table(disk, disk.size() - sector, sector);
    }
    return disk;
}

// Where layout/ sees a table that its first sector announces, firmware sees the same one.
void compare(const Bytes& disk, std::uint32_t sector, bool found, const efi::PartitionTable& seen) {
    layout::PartitionTable table;
    try {
        table = layout::read_partition_table(FuzzDisk(disk, sector, true));
    } catch (const Error&) {
        require(!found, "a table that nobody else sees");
        return;
    }
    if (table.kind != layout::TableKind::kGpt) return require(!found, "a table that nobody else sees");
    if (!found) return;
    require(seen.count == table.partitions.size(), "as many partitions");
    for (std::size_t i = 0; i < seen.count; ++i)
        require(seen.partitions[i].number == table.partitions[i].number &&
                    seen.partitions[i].begin == table.partitions[i].extent.begin &&
                    seen.partitions[i].end == table.partitions[i].extent.end,
                "the same partitions");
}

// The input as the text of a mark: what firmware takes from it, everybody else takes from it, too.
void run_as_mark(std::span<const std::byte> text) {
    constexpr std::uint64_t kDiskBytes = 256 * kKiB, kRoom = 33 * 512;
    if (text.size() > kRoom - 56) return;
    Bytes content(kDiskBytes);
    const auto room = std::span(content).last(kRoom);
    std::copy_n(as_bytes("DUPENGINE-UNDONE").begin(), 16, room.begin());
    store_le<std::uint32_t>(room, 16, 1);
    store_le<std::uint32_t>(room, 20, static_cast<std::uint32_t>(text.size()));
    const codec::Sha256 digest = codec::sha256(text);
    std::copy(digest.begin(), digest.end(), room.begin() + 24);
    std::copy(text.begin(), text.end(), room.begin() + 56);
    test::EfiDisk disk(content);
    static std::vector<std::byte> scratch(2 * kMiB);
    efi::Mark mark;
    if (!efi::find_mark(disk, scratch, mark)) return;
    const auto known = layout::find_mark(FuzzDisk(content, 512, true));
    if (!known) return;  // stricter, about members that firmware has no use for
    require(known->kept.size() == mark.count, "as many kept regions");
    for (std::size_t i = 0; i < mark.count; ++i)
        require(known->kept[i].extent.begin == mark.kept[i].partition.begin &&
                    known->kept[i].extent.end == mark.kept[i].partition.end,
                "the same kept regions");
}

void run(std::span<const std::byte> input) {
    run_as_mark(input);
    const unsigned flags = load_le<std::uint8_t>(input, 0);
    const std::uint32_t sector = (flags & kLargeSectors) != 0 ? 4096 : 512;
    const Bytes content = content_of(input, sector, (flags & kKeepChecksums) == 0);
    test::EfiDisk disk(content, sector);
    static std::vector<std::byte> scratch(2 * kMiB);
    efi::PartitionTable seen;
    const bool found = efi::read_gpt(disk, scratch, seen).empty();
    compare(content, sector, found, seen);
    if (!found) return;
    for (const efi::Partition& partition : seen.all()) {
        efi::StoredProfile profile;
        efi::read_newest_slot(disk, partition, scratch, profile);
    }
}

}  // namespace
}  // namespace dupengine::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    if (size >= dupengine::fuzz::kPrefix) dupengine::fuzz::run(std::as_bytes(std::span(data, size)));
    return 0;
}
