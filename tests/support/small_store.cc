#include "tests/support/small_store.h"

#include <algorithm>
#include <random>

#include "block/transfers.h"
#include "image/image_writer.h"

namespace dupengine::test {

using block::ExtentSet;
using image::kChunkBytes;

Bytes small_disk(std::uint64_t seed) {
    Bytes disk(10 * kMiB + 4096);  // the last chunk is not whole
    std::mt19937_64 random(seed);
    for (std::size_t at = kMiB; at < 3 * kMiB; at += 8)
        store_le<std::uint64_t>(disk, at, random());
    std::fill_n(disk.begin() + 8 * kMiB, kMiB, std::byte{'x'});
    std::copy_n(disk.begin() + kMiB, 4096, disk.end() - 4096);
    return disk;
}

void capture_small_disk(const std::string& path, const Bytes& disk) {
    image::Store::create(path);
    image::Store store(path, image::StoreLock::For::kWriting);
    image::Manifest draft;
    draft.name = "web";
    draft.created = 1;
    draft.source = "a test";
    draft.size_bytes = disk.size();
    draft.table = "none";
    image::ImageWriter writer(store, draft, ExtentSet{{0, disk.size()}});
    Bytes chunk(kChunkBytes);
    for (std::size_t at = 0; at < disk.size(); at += kChunkBytes) {
        std::ranges::fill(chunk, std::byte{0});
        std::copy_n(disk.begin() + static_cast<std::ptrdiff_t>(at),
                    std::min<std::size_t>(kChunkBytes, disk.size() - at), chunk.begin());
        writer.put(at / kChunkBytes, chunk);
    }
    writer.finish({});
}

Bytes read_as_a_copy(const image::ImageReader& reader) {
    Bytes all(reader.geometry().size_bytes);
    reader.expect({{0, all.size()}});
    block::Transfers transfers(kMiB, 8);
    for (std::size_t at = 0; at < all.size(); at += kMiB) {
        const auto part = transfers.memory().first(std::min<std::size_t>(kMiB, all.size() - at));
        reader.start_read(transfers, 0, at, part, block::Reader::From::kAnywhere);
        transfers.wait();
        std::ranges::copy(part, all.begin() + static_cast<std::ptrdiff_t>(at));
    }
    return all;
}

}  // namespace dupengine::test
