// The digest of firmware is the digest of everything else.

#include "efi/core/sha256.h"

#include <gmock/gmock.h>

#include "base/bytes.h"
#include "base/random.h"
#include "codec/digest.h"

namespace dupengine {
namespace {

TEST(EfiSha256, IsTheDigestThatThePartitionWasWrittenWith) {
    SeededRandom random(1);
    for (std::size_t size = 0; size < 300; ++size) {
        Bytes bytes(size);
        random.fill(bytes);
        EXPECT_EQ(efi::sha256(bytes), codec::sha256(bytes)) << size << " bytes";
    }
}

TEST(EfiCrc32, IsTheChecksumOfTablesAndSlots) {
    SeededRandom random(2);
    for (std::size_t size : {0u, 1u, 7u, 92u, 512u, 16384u}) {
        Bytes bytes(size);
        random.fill(bytes);
        EXPECT_EQ(efi::crc32(bytes), crc32(bytes)) << size << " bytes";
    }
}

}  // namespace
}  // namespace dupengine
