// Any bytes as a partition (tests/support/sparse_reader.h says how a short input becomes a large disk), asked
// whose its bytes are, with each filesystem that has names. Files are never told more bytes than were asked
// for, each path has something in it, and what could not be read is said.

#include "layout/file_owners.h"

#include <cstdlib>

#include "tests/support/sealed_reader.h"
#include "tests/support/sparse_reader.h"

namespace {

using namespace dupengine;

void look(const block::Reader& part, const char* type, const block::ExtentSet& places) {
    layout::Signature signature;
    signature.type = type;
    const layout::FileOwners found = layout::find_file_owners(part, signature, places);
    const std::uint64_t asked = places.total_bytes();
    if (found.other_bytes > asked) std::abort();
    if (found.files.empty() && found.other_bytes != asked) std::abort();
    for (const layout::FileOwner& file : found.files)
        if (file.path.empty() || file.bytes == 0) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const auto part = test::SparseReader::decode({reinterpret_cast<const std::byte*>(data), size});
    const std::uint64_t end = part->geometry().size_bytes;
    block::ExtentSet some;
    for (ByteOffset at = 0; at + 512 <= end && some.count() < 200; at += 37 * kKiB)
        some.insert({at, at + 512});
    for (const char* type : {"btrfs", "exfat", "ext4", "ntfs", "vfat", "xfs"})
        for (const block::ExtentSet& places : {some, block::ExtentSet{{0, end}}})
            look(*part, type, places);
    look(test::SealedReader(*part), "btrfs", some);  // or no change would get past the checksums
    look(test::SealedReader(*part), "btrfs", {{0, end}});
    return 0;
}
