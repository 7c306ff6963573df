// Any bytes as a partition (tests/support/sparse_reader.h says how a short input becomes a large disk), taken
// for each filesystem that has a reader. Found extents must lie within the part; the only way out is a
// result.

#include "layout/used_extents.h"

#include <algorithm>
#include <cstdlib>

#include "layout/fat_sectors.h"
#include "layout/fat_volume.h"
#include "tests/support/sealed_reader.h"
#include "tests/support/sparse_reader.h"

namespace {

using namespace dupengine;

void look(const block::Reader& part, const char* type) {
    layout::Signature signature;
    signature.type = type;
    const layout::UsedExtents found = layout::find_used_extents(part, signature);
    if (found.whole == found.reason.empty()) std::abort();
    for (block::Extent extent : found.used)
        if (extent.empty() || extent.end > part.geometry().size_bytes) std::abort();
}

// A FAT that is made anew for other sectors is a FAT again, with no more clusters than it had; or it is
// refused.
void make_fat_anew(const block::Reader& part, std::uint32_t sector_bytes) {
    const std::shared_ptr<const block::Reader> unowned(std::shared_ptr<void>(), &part);
    const std::uint64_t size = align_down(part.geometry().size_bytes, 4096);
    try {
        const layout::FatForSectors made = layout::fat_for_sectors(unowned, 0, size, sector_bytes);
        const layout::FatVolume was = layout::read_fat_volume(part);
        const layout::FatVolume is = layout::read_fat_volume(*made.reader);
        if (is.sector_bytes != sector_bytes || is.cluster_bytes != was.cluster_bytes ||
            is.clusters > was.clusters || made.reader->geometry().size_bytes != size)
            std::abort();
        block::read_extent(*made.reader, {0, std::min<std::uint64_t>(size, is.data_begin)});
    } catch (const Error& e) {
        if (e.code() != Code::kRefused && e.code() != Code::kIntegrity) std::abort();
    }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const auto part = test::SparseReader::decode({reinterpret_cast<const std::byte*>(data), size});
    for (const char* type : {"LVM2_member", "btrfs", "exfat", "ext4", "f2fs", "ntfs", "swap", "vfat", "xfs"})
        look(*part, type);
    look(test::SealedReader(*part), "btrfs");  // or no change would get past the checksums
    for (const std::uint32_t sector_bytes : {512u, 4096u})
        make_fat_anew(*part, sector_bytes);
    return 0;
}
