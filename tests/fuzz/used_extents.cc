// Any bytes as a partition (tests/support/sparse_reader.h says how a short input becomes a large disk), taken
// for each filesystem that has a reader. Found extents must lie within the part; the only way out is a
// result.

#include "layout/used_extents.h"

#include <cstdlib>

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

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const auto part = test::SparseReader::decode({reinterpret_cast<const std::byte*>(data), size});
    for (const char* type : {"LVM2_member", "btrfs", "exfat", "ext4", "f2fs", "ntfs", "swap", "vfat", "xfs"})
        look(*part, type);
    look(test::SealedReader(*part), "btrfs");  // or no change would get past the checksums
    return 0;
}
