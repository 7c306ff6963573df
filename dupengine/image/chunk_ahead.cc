#include "image/chunk_ahead.h"

#include <algorithm>

namespace dupengine::image {
namespace {

using block::Extent;

// Half of what WebFiles keep: nothing is forgotten there before it is read.
constexpr std::uint64_t kAheadBytes = 16 * kMiB;
// After something was found on the target that need not be read; it doubles with each read.
constexpr std::uint64_t kLeastAhead = 256 * kKiB;
constexpr std::size_t kMostStretches = 64;
// Of the disk, told at once: what was captured at the same time lies mixed in its packs.
constexpr std::uint64_t kStretch = 4 * kMiB;
// So much between two chunks costs less than a request of its own.
constexpr std::uint64_t kBridge = 8 * kKiB;
constexpr std::uint64_t kMostAtOnce = 2 * kMiB;

}  // namespace

ChunkAhead::ChunkAhead(const Files& files, const ChunkMap& map, const PackCache* cache)
    : files_(files), map_(map), cache_(cache), window_(kAheadBytes) {}

void ChunkAhead::add(std::vector<Piece>& pieces, std::uint64_t chunk) const {
    const auto index = map_.list_of(chunk);
    if (!index) return;
    const auto list = map_.list(*index);
    const std::size_t at = chunk % map_.manifest().chunks_per_list;
    if (list->digests[at] == kZeroChunk) return;
    const Place& place = list->places[at];
    if (cache_ != nullptr && cache_->may_have(map_.packs()[place.pack], place.offset, place.bytes)) return;
    pieces.push_back({place.pack, place.offset, ByteOffset{place.offset} + place.bytes});
}

// How many bytes that is.
std::uint64_t ChunkAhead::tell(std::vector<Piece> pieces) const {
    std::ranges::sort(pieces, [](const Piece& a, const Piece& b) {
        return a.pack != b.pack ? a.pack < b.pack : a.begin < b.begin;
    });
    std::uint64_t bytes = 0;
    for (std::size_t i = 0; i < pieces.size();) {
        Piece joined = pieces[i];
        for (++i; i < pieces.size() && pieces[i].pack == joined.pack &&
                  pieces[i].begin <= joined.end + kBridge && pieces[i].end - joined.begin <= kMostAtOnce;
             ++i)
            joined.end = std::max(joined.end, pieces[i].end);
        bytes += joined.end - joined.begin;
        files_.will_read(pack_file(map_.packs()[joined.pack]), joined.begin, joined.end - joined.begin);
    }
    return bytes;
}

void ChunkAhead::tell(std::uint64_t first, std::uint64_t count) const {
    std::vector<Piece> pieces;
    for (std::uint64_t chunk = first; chunk < first + count; ++chunk)
        add(pieces, chunk);
    if (pieces.size() > 1) tell(std::move(pieces));
}

void ChunkAhead::spared() {
    const std::scoped_lock lock(mutex_);
    window_ = kLeastAhead;
}

void ChunkAhead::lacks(std::uint64_t chunk) {
    const std::scoped_lock lock(mutex_);
    constexpr std::size_t kMostLacking = 4096;
    if (lacking_.size() < kMostLacking) lacking_.push_back(chunk);
}

void ChunkAhead::tell_lacking() {
    std::vector<std::uint64_t> lacking;
    {
        const std::scoped_lock lock(mutex_);
        lacking.swap(lacking_);
    }
    std::vector<Piece> pieces;
    for (const std::uint64_t chunk : lacking)
        add(pieces, chunk);
    if (pieces.size() > 1) tell(std::move(pieces));
}

void ChunkAhead::expect(block::ExtentSet data) {
    const std::scoped_lock lock(mutex_);
    expected_ = std::move(data);
    ahead_.clear();
    next_ = ahead_bytes_ = 0;
}

// Tells of the next stretch that anything is expected of. False if there is none. With the mutex held.
bool ChunkAhead::go_ahead() {
    const std::uint64_t size = map_.manifest().chunk_bytes;
    const ByteOffset end_of_disk = map_.manifest().size_bytes;
    auto at = std::ranges::upper_bound(expected_.begin(), expected_.end(), next_, {}, &Extent::end);
    if (at == expected_.end() || std::max(next_, at->begin) >= end_of_disk) return false;
    const ByteOffset begin = std::max(next_, at->begin);
    const Extent stretch{begin, std::min(align_down(begin, kStretch) + kStretch, end_of_disk)};
    std::vector<Piece> pieces;
    std::uint64_t chunk = stretch.begin / size;  // the first that has not been looked at
    for (; at != expected_.end() && at->begin < stretch.end; ++at) {
        const Extent part = at->clipped_to(stretch);
        for (chunk = std::max(chunk, part.begin / size); chunk * size < part.end; ++chunk)
            add(pieces, chunk);
    }
    next_ = stretch.end;
    ahead_.push_back({stretch.end, tell(std::move(pieces))});
    ahead_bytes_ += ahead_.back().bytes;
    return true;
}

void ChunkAhead::reading(ByteOffset offset) {
    const std::scoped_lock lock(mutex_);
    while (!ahead_.empty() && ahead_.front().end <= offset) {
        ahead_bytes_ -= ahead_.front().bytes;
        ahead_.pop_front();
    }
    // What was left out (it is on the target already) is not told either.
    if (ahead_.empty()) next_ = std::max(next_, offset);
    window_ = std::min(kAheadBytes, window_ * 2);
    while (ahead_bytes_ < window_ && ahead_.size() < kMostStretches && go_ahead()) {
    }
}

}  // namespace dupengine::image
