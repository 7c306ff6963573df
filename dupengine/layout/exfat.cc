// exFAT after Microsoft's "exFAT file system specification" (revision 1.00). Used are all sectors in front of
// the cluster heap (boot regions, FAT) and the clusters that the allocation bitmap calls allocated. The
// bitmap is found as the specification says: an entry of the root directory names its first cluster, the FAT
// the others.
//
// A volume that is marked as dirty may hold files whose clusters the bitmap still calls free; nothing says
// which. It is copied whole. So is TexFAT: two FATs and two bitmaps, of which a transaction chooses.

#include <algorithm>
#include <optional>
#include <vector>

#include "layout/exfat_volume.h"
#include "layout/ext_bitmaps.h"
#include "layout/extent_collector.h"
#include "layout/used_extents.h"

namespace dupengine::layout {
namespace {

using Volume = ExfatVolume;
constexpr std::uint32_t kFirstCluster = Volume::kFirstCluster;
constexpr std::uint32_t kEndOfChain = 0xFFFFFFFF;
constexpr std::uint64_t kPiece = kMiB;

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
    const Volume volume = read_exfat_volume(part);
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
