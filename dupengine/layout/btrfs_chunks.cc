#include "layout/btrfs_chunks.h"

#include <algorithm>

#include "layout/extent_collector.h"

namespace dupengine::layout {
namespace {

constexpr std::uint8_t kChunkItem = 228;
constexpr std::uint64_t kChunkTreeObject = 256;
constexpr std::size_t kStripesAt = 48, kStripeBytes = 32;
constexpr std::uint64_t kTypeMask = 0x7;  // data, system, metadata
constexpr std::uint64_t kRaid0 = 1 << 3, kDup = 1 << 5;
constexpr std::size_t kChunkLimit = std::size_t{1} << 20;  // of 1 GiB each

}  // namespace

BtrfsKey BtrfsKey::load(std::span<const std::byte> bytes, std::size_t at) {
    return {load_le<std::uint64_t>(bytes, at), load_le<std::uint8_t>(bytes, at + 8),
            load_le<std::uint64_t>(bytes, at + 9)};
}

BtrfsChunks::BtrfsChunks(const BtrfsSuper& super) : super_(super) {
    std::span<const std::byte> rest = super.system_chunks;
    while (!rest.empty()) {
        const BtrfsKey key = BtrfsKey::load(rest, 0);
        const std::size_t stripes = load_le<std::uint16_t>(rest, BtrfsKey::kBytes + 44);
        const std::size_t size = kStripesAt + stripes * kStripeBytes;
        if (size > rest.size() - BtrfsKey::kBytes)
            throw_error(Code::kIntegrity, "a system chunk passes the end of the superblock's list");
        add(key, rest.subspan(BtrfsKey::kBytes, size));
        rest = rest.subspan(BtrfsKey::kBytes + size);
    }
}

BtrfsChunks::Chunk BtrfsChunks::parse(const BtrfsKey& key, std::span<const std::byte> item) const {
    Chunk chunk;
    const auto length = load_le<std::uint64_t>(item, 0), type = load_le<std::uint64_t>(item, 24);
    const std::size_t stripes = load_le<std::uint16_t>(item, 44);
    chunk.logical = {key.offset, checked_add(key.offset, length, "chunk")};
    if (key.object != kChunkTreeObject || key.type != kChunkItem || length == 0 ||
        length > super_.device_bytes || length % super_.sector_bytes != 0 ||
        key.offset % super_.sector_bytes != 0)
        throw_error(Code::kIntegrity, "a chunk of {} bytes at {}", length, key.offset);
    if ((type & kTypeMask) == 0) throw_error(Code::kIntegrity, "a chunk of type {:#x}", type);
    // One copy in one piece, RAID 0 over a single device being that, or two.
    const std::uint64_t profile = type & ~kTypeMask;
    const std::size_t wanted = profile == 0 || profile == kRaid0 ? 1 : profile == kDup ? 2 : 0;
    if (wanted == 0 || stripes != wanted)
        throw_error(Code::kIntegrity, "a chunk of profile {:#x} with {} stripes is not understood", profile,
                    stripes);
    if (item.size() != kStripesAt + stripes * kStripeBytes)
        throw_error(Code::kIntegrity, "a chunk item of {} bytes", item.size());
    for (std::size_t i = 0; i < stripes; ++i) {
        const auto stripe = item.subspan(kStripesAt + i * kStripeBytes, kStripeBytes);
        const auto place = load_le<std::uint64_t>(stripe, 8);
        if (load_le<std::uint64_t>(stripe, 0) != super_.device ||
            !std::equal(super_.device_uuid.begin(), super_.device_uuid.end(), stripe.begin() + 16))
            throw_error(Code::kIntegrity, "a chunk is on another device");
        if (place > super_.device_bytes - length || place % super_.sector_bytes != 0)
            throw_error(Code::kIntegrity, "a chunk of {} bytes would be at {} of {}", length, place,
                        super_.device_bytes);
        chunk.copies.push_back(place);
    }
    return chunk;
}

void BtrfsChunks::add(const BtrfsKey& key, std::span<const std::byte> item) {
    Chunk chunk = parse(key, item);
    const auto after =
        std::lower_bound(chunks_.begin(), chunks_.end(), chunk.logical.begin,
                         [](const Chunk& other, ByteOffset begin) { return other.logical.end <= begin; });
    if (after != chunks_.end() && after->logical.touches(chunk.logical)) {
        if (after->logical != chunk.logical || after->copies != chunk.copies)
            throw_error(Code::kIntegrity, "two chunks at {}", chunk.logical.begin);
        return;
    }
    if (chunks_.size() == kChunkLimit) throw_error(Code::kIntegrity, "more than {} chunks", kChunkLimit);
    chunks_.insert(after, std::move(chunk));
}

std::vector<block::Extent> BtrfsChunks::places_of(block::Extent logical) const {
    const auto chunk =
        std::lower_bound(chunks_.begin(), chunks_.end(), logical.begin,
                         [](const Chunk& other, ByteOffset begin) { return other.logical.end <= begin; });
    if (chunk == chunks_.end() || !chunk->logical.contains(logical))
        throw_error(Code::kIntegrity, "{} is in no chunk", logical.text());
    std::vector<block::Extent> places;
    for (ByteOffset copy : chunk->copies) {
        const ByteOffset begin = copy + (logical.begin - chunk->logical.begin);
        places.push_back({begin, begin + logical.size()});
    }
    return places;
}

block::ExtentSet BtrfsChunks::places_of(const block::ExtentSet& logical) const {
    struct Copy {
        ByteOffset at;
        block::Extent logical;
    };
    std::vector<Copy> copies;
    for (const Chunk& chunk : chunks_)
        for (ByteOffset at : chunk.copies)
            copies.push_back({at, chunk.logical});
    std::sort(copies.begin(), copies.end(), [](const Copy& a, const Copy& b) { return a.at < b.at; });
    for (std::size_t i = 1; i < copies.size(); ++i)
        if (copies[i].at < copies[i - 1].at + copies[i - 1].logical.size())
            throw_error(Code::kIntegrity, "two chunks would be at {} of the device", copies[i].at);
    ExtentCollector places;
    for (const Copy& copy : copies)
        for (const block::Extent& piece : logical.clipped_to(copy.logical)) {
            const ByteOffset begin = copy.at + (piece.begin - copy.logical.begin);
            places.add({begin, begin + piece.size()});
        }
    return places.take();
}

std::vector<block::Extent> BtrfsChunks::ranges_up_to(const block::ExtentSet& places) const {
    std::vector<block::Extent> ranges;
    for (const Chunk& chunk : chunks_) {
        block::Extent range{chunk.logical.begin, chunk.logical.begin};
        for (const ByteOffset copy : chunk.copies)
            for (const block::Extent& piece : places.clipped_to({copy, copy + chunk.logical.size()}))
                range.end = std::max(range.end, chunk.logical.begin + (piece.end - copy));
        if (!range.empty()) ranges.push_back(range);
    }
    return ranges;
}

block::ExtentSet BtrfsChunks::all() const {
    block::ExtentSet set;
    for (const Chunk& chunk : chunks_)
        set.insert(chunk.logical);
    return set;
}

}  // namespace dupengine::layout
