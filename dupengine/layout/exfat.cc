// exFAT after Microsoft's "exFAT file system specification" (revision 1.00). Used are all sectors in front of
// the cluster heap (boot regions, FAT) and the clusters that the allocation bitmap calls allocated. The
// bitmap is found as the specification says: an entry of the root directory names its first cluster, the FAT
// the others.
//
// A volume that is marked as dirty may hold files whose clusters the bitmap still calls free; nothing says
// which. It is copied whole. So is TexFAT: two FATs and two bitmaps, of which a transaction chooses.

#include <algorithm>
#include <bit>
#include <optional>
#include <vector>

#include "layout/ext_bitmaps.h"
#include "layout/extent_collector.h"
#include "layout/used_extents.h"

namespace dupengine::layout {
namespace {

constexpr std::uint32_t kFirstCluster = 2;
constexpr std::uint32_t kEndOfChain = 0xFFFFFFFF;
constexpr std::uint64_t kBootRegionSectors = 12;  // main and backup, one behind the other
constexpr std::uint64_t kPiece = kMiB;

struct Volume {
    std::uint64_t sector_bytes = 0, cluster_bytes = 0;
    std::uint64_t fat_begin = 0, heap_begin = 0, end = 0;  // bytes
    std::uint32_t clusters = 0, root = 0;
    unsigned flags = 0;

    block::Extent bytes_of(std::uint64_t cluster, std::uint64_t count) const {
        const ByteOffset at = heap_begin + (cluster - kFirstCluster) * cluster_bytes;
        return {at, at + count * cluster_bytes};
    }
    bool has(std::uint64_t cluster) const {
        return cluster >= kFirstCluster && cluster - kFirstCluster < clusters;
    }
};

// Of the first eleven sectors, leaving out what changes while it is mounted: the flags and the percentage.
// The twelfth is full of it.
void check_boot_checksum(const block::Reader& part, std::uint64_t sector_bytes) {
    const Bytes region = block::read_extent(part, {0, kBootRegionSectors * sector_bytes});
    const std::size_t summed = (kBootRegionSectors - 1) * sector_bytes;
    std::uint32_t sum = 0;
    for (std::size_t i = 0; i < summed; ++i)
        if (i != 106 && i != 107 && i != 112)
            sum = std::rotr(sum, 1) + std::to_integer<std::uint32_t>(region[i]);
    for (std::size_t at = summed; at < region.size(); at += sizeof sum)
        if (load_le<std::uint32_t>(region, at) != sum)
            throw_error(Code::kIntegrity, "the boot region does not match its checksum");
}

Volume read_volume(const block::Reader& part) {
    constexpr std::uint64_t kBootBytes = 512;
    if (part.geometry().size_bytes < kBootBytes) throw_error(Code::kIntegrity, "too small for a boot sector");
    const Bytes sector = block::read_extent(part, {0, kBootBytes});
    const auto u32 = [&](std::size_t at) -> std::uint64_t { return load_le<std::uint32_t>(sector, at); };
    const auto u8 = [&](std::size_t at) { return std::to_integer<unsigned>(sector[at]); };
    if (as_text(std::span(sector).subspan(3, 8)) != "EXFAT   " ||
        load_le<std::uint16_t>(sector, 510) != 0xAA55 || !is_zero(std::span(sector).subspan(11, 53)))
        throw_error(Code::kIntegrity, "no boot sector");
    if (u8(105) != 1) throw_error(Code::kIntegrity, "revision {}.{} is not known", u8(105), u8(104));
    const unsigned sector_log = u8(108), cluster_log = u8(109);
    if (sector_log < 9 || sector_log > 12 || cluster_log > 25 - sector_log)
        throw_error(Code::kIntegrity, "sectors of 2^{} bytes, clusters of 2^{} sectors", sector_log,
                    cluster_log);
    Volume volume;
    volume.sector_bytes = std::uint64_t{1} << sector_log;
    volume.cluster_bytes = volume.sector_bytes << cluster_log;
    if (part.geometry().size_bytes < 2 * kBootRegionSectors * volume.sector_bytes)
        throw_error(Code::kIntegrity, "too small for its boot regions");
    check_boot_checksum(part, volume.sector_bytes);
    volume.flags = load_le<std::uint16_t>(sector, 106);
    if (u8(110) != 1 || (volume.flags & 1) != 0)
        throw_error(Code::kIntegrity, "it has {} FATs, number {} in force: TexFAT is not known", u8(110),
                    volume.flags & 1);

    // Products of a 32-bit count and at most 2^25; only the length of the volume has 64 bits.
    volume.end =
        checked_mul(load_le<std::uint64_t>(sector, 72), volume.sector_bytes, "the length of the volume");
    if (volume.end > part.geometry().size_bytes)
        throw_error(Code::kIntegrity, "the filesystem covers {} bytes, the partition has {}", volume.end,
                    part.geometry().size_bytes);
    volume.clusters = load_le<std::uint32_t>(sector, 92);
    volume.fat_begin = u32(80) * volume.sector_bytes;
    volume.heap_begin = u32(88) * volume.sector_bytes;
    const std::uint64_t fat_bytes = u32(84) * volume.sector_bytes;
    if (volume.clusters == 0 || volume.clusters > 0xFFFFFFF5 ||
        volume.fat_begin < 2 * kBootRegionSectors * volume.sector_bytes ||
        fat_bytes / 4 < std::uint64_t{volume.clusters} + kFirstCluster ||
        volume.heap_begin < volume.fat_begin + fat_bytes ||
        volume.heap_begin + volume.clusters * volume.cluster_bytes > volume.end)
        throw_error(Code::kIntegrity, "a FAT of {} bytes at {}, {} clusters at {}, of {} bytes in all",
                    fat_bytes, volume.fat_begin, volume.clusters, volume.heap_begin, volume.end);
    volume.root = load_le<std::uint32_t>(sector, 96);
    return volume;
}

// The clusters of a chain, one after the other. Whoever walks it stops after the length that is meant.
class Chain {
  public:
    Chain(const block::Reader& part, const Volume& volume, std::uint32_t first, const char* what)
        : part_(part), volume_(volume), cluster_(first), what_(what) {
        check();
    }
    bool ended() const { return cluster_ == kEndOfChain; }
    std::uint32_t cluster() const { return cluster_; }
    void advance() {
        const ByteOffset at = volume_.fat_begin + std::uint64_t{cluster_} * 4;
        cluster_ = load_le<std::uint32_t>(block::read_extent(part_, {at, at + 4}), 0);
        check();
    }

  private:
    void check() const {
        if (!ended() && !volume_.has(cluster_))
            throw_error(Code::kIntegrity, "{} goes on at cluster {:#x} of {:#x}", what_, cluster_,
                        volume_.clusters);
    }
    const block::Reader& part_;
    const Volume& volume_;
    std::uint32_t cluster_;
    const char* what_;
};

struct Bitmap {
    std::uint32_t first = 0;
    std::uint64_t bytes = 0;
};

class Scan {
  public:
    Scan(const block::Reader& part, const Volume& volume) : part_(part), volume_(volume) {}

    block::ExtentSet run() {
        collected_.add({0, volume_.heap_begin});
        read_bitmap(find_bitmap());
        block::ExtentSet used = collected_.take();
        for (const block::Extent& extent : must_be_used_)
            if (!used.contains(extent))
                throw_error(Code::kIntegrity,
                            "the allocation bitmap calls free where it lies itself, or the root directory");
        return used;
    }

  private:
    Bitmap find_bitmap() {
        constexpr std::uint64_t kDirectoryLimit = 256 * kMiB;  // of any directory (section 7.4)
        std::optional<Bitmap> found;
        std::uint64_t walked = 0;
        for (Chain chain(part_, volume_, volume_.root, "the root directory"); !chain.ended();
             chain.advance()) {
            if ((walked += volume_.cluster_bytes) > kDirectoryLimit)
                throw_error(Code::kIntegrity, "the root directory has no end");
            const block::Extent place = volume_.bytes_of(chain.cluster(), 1);
            must_be_used_.insert(place);
            for (ByteOffset at = place.begin; at < place.end; at += kPiece)
                if (!take_entries({at, std::min(at + kPiece, place.end)}, found)) return checked(found);
        }
        return checked(found);
    }

    // Returns false at the end of the directory.
    bool take_entries(block::Extent place, std::optional<Bitmap>& found) const {
        constexpr std::size_t kEntryBytes = 32;
        constexpr unsigned kEnd = 0x00, kAllocationBitmap = 0x81;
        const Bytes entries = block::read_extent(part_, place);
        for (std::size_t at = 0; at < entries.size(); at += kEntryBytes) {
            const auto type = std::to_integer<unsigned>(entries[at]);
            if (type == kEnd) return false;
            if (type != kAllocationBitmap) continue;
            if (found) throw_error(Code::kIntegrity, "it has two allocation bitmaps");
            if ((std::to_integer<unsigned>(entries[at + 1]) & 1) != 0)
                throw_error(Code::kIntegrity, "its first allocation bitmap is the second");
            found =
                Bitmap{load_le<std::uint32_t>(entries, at + 20), load_le<std::uint64_t>(entries, at + 24)};
        }
        return true;
    }

    Bitmap checked(const std::optional<Bitmap>& found) const {
        if (!found) throw_error(Code::kIntegrity, "the root directory names no allocation bitmap");
        if (found->bytes < (std::uint64_t{volume_.clusters} + 7) / 8 ||
            found->bytes > volume_.clusters * volume_.cluster_bytes)
            throw_error(Code::kIntegrity, "an allocation bitmap of {} bytes for {} clusters", found->bytes,
                        volume_.clusters);
        return *found;
    }

    void read_bitmap(const Bitmap& bitmap) {
        Chain chain(part_, volume_, bitmap.first, "the allocation bitmap");
        for (std::uint64_t done = 0; done < bitmap.bytes; done += volume_.cluster_bytes) {
            if (chain.ended())
                throw_error(Code::kIntegrity, "the allocation bitmap ends after {} of {} bytes", done,
                            bitmap.bytes);
            const block::Extent place = volume_.bytes_of(chain.cluster(), 1);
            must_be_used_.insert(place);
            for (ByteOffset at = place.begin; at < place.end; at += kPiece)
                take_bits({at, std::min(at + kPiece, place.end)}, done + (at - place.begin));
            chain.advance();
        }
        if (!chain.ended())
            throw_error(Code::kIntegrity, "the allocation bitmap goes on after {} bytes", bitmap.bytes);
    }

    // `first_byte`: where in the bitmap this piece of it begins.
    void take_bits(block::Extent place, std::uint64_t first_byte) {
        const std::uint64_t first = first_byte * 8;
        if (first >= volume_.clusters) return;
        const std::uint64_t count = std::min(volume_.clusters - first, place.size() * 8);
        for_each_run(block::read_extent(part_, place), count, [&](std::uint64_t begin, std::uint64_t end) {
            collected_.add(volume_.bytes_of(kFirstCluster + first + begin, end - begin));
        });
    }

    const block::Reader& part_;
    const Volume& volume_;
    ExtentCollector collected_;
    block::ExtentSet must_be_used_;
};

}  // namespace

UsedExtents exfat_used_extents(const block::Reader& part) {
    constexpr unsigned kDirty = 2, kMediaFailure = 4;
    const Volume volume = read_volume(part);
    if ((volume.flags & kDirty) != 0)
        throw_error(Code::kIntegrity, "not unmounted cleanly: what is in use may not be marked so");
    UsedExtents result;
    result.block_bytes = volume.sector_bytes;  // clusters need not be aligned to their own size
    result.filesystem_bytes = volume.end;
    if ((volume.flags & kMediaFailure) != 0) result.note = "a driver met disk errors on it; copied as it is";
    result.used = Scan(part, volume).run();
    return result;
}

}  // namespace dupengine::layout
