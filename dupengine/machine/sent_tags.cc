#include "machine/sent_tags.h"

#include <algorithm>

#include "base/error.h"
#include "base/units.h"

namespace dupengine::machine {
namespace {

using block::Extent;
using block::ExtentSet;
using Tag = codec::KeyedDigest::Tag;

// No content has these but by chance, and then it is only given away once more.
constexpr Tag kNever{};
const Tag kMixed = [] {
    Tag tag;
    tag.fill(std::byte{0xff});
    return tag;
}();

}  // namespace

std::uint64_t SentTags::memory_for(std::uint64_t bytes) {
    return (bytes + kPiece - 1) / kPiece * sizeof(Tag);
}

SentTags::SentTags(std::uint64_t size_bytes, std::uint64_t most_memory)
    : size_bytes_(size_bytes),
      most_regions_(most_memory / sizeof(Region)),
      regions_((size_bytes + kPiece * Region().size() - 1) / (kPiece * Region().size())) {}

void SentTags::divide_finely(const ExtentSet& tables) {
    for (const Extent e : tables.aligned_outwards(kPiece, align_up(size_bytes_, kPiece)))
        for (std::uint64_t slot = e.begin / kPiece; slot < e.end / kPiece; ++slot)
            fine_.try_emplace(slot);
}

SentTags::Region* SentTags::region_of(std::uint64_t slot, bool is_made) {
    auto& region = regions_.at(slot / Region().size());
    if (region == nullptr && is_made) {
        if (region_count_ == most_regions_)
            throw_error(Code::kUnsupported,
                        "the digests of what is in use need more than {} of memory; let this kernel take BPF "
                        "programs (dupengine doctor), or stop what uses the disk and copy it",
                        format_size(most_regions_ * sizeof(Region)));
        region = std::make_unique<Region>();
        ++region_count_;
    }
    return region.get();
}

// One piece, or the fine ones in its place.
std::vector<SentTags::Piece> SentTags::pieces_of(std::uint64_t slot, bool is_made) {
    const Extent all = Extent{slot * kPiece, (slot + 1) * kPiece}.clipped_to({0, size_bytes_});
    const auto fine = fine_.find(slot);
    if (fine == fine_.end()) {
        Region* region = region_of(slot, is_made);
        return {{all, region == nullptr ? nullptr : &(*region)[slot % region->size()]}};
    }
    std::vector<Piece> pieces;
    for (std::size_t i = 0; i < fine->second.size(); ++i) {
        const ByteOffset begin = all.begin + i * kFinePiece;
        if (begin < all.end)
            pieces.push_back({{begin, std::min(begin + kFinePiece, all.end)}, &fine->second[i]});
    }
    return pieces;
}

void SentTags::note(ByteOffset offset, std::span<const std::byte> bytes, codec::KeyedDigest& digest) {
    for (ByteOffset at = offset; at < offset + bytes.size(); at += kPiece) {
        std::unique_lock lock(mutex_);
        for (const Piece& piece : pieces_of(at / kPiece, true)) {
            lock.unlock();
            const Tag tag = digest.of(bytes.subspan(piece.extent.begin - offset, piece.extent.size()));
            lock.lock();
            if (*piece.tag != tag) *piece.tag = *piece.tag == kNever ? tag : kMixed;
        }
    }
}

void SentTags::forget(const ExtentSet& extents) {
    const std::lock_guard lock(mutex_);
    for (const Extent e : extents)
        for (std::uint64_t slot = e.begin / kPiece; slot * kPiece < e.end; ++slot)
            for (const Piece& piece : pieces_of(slot, false))
                if (piece.tag != nullptr && piece.extent.touches(e)) *piece.tag = kNever;
}

ExtentSet SentTags::take_different(ByteOffset offset, std::span<const std::byte> bytes,
                                   codec::KeyedDigest& digest, const ExtentSet& used) {
    ExtentSet different;
    for (ByteOffset at = offset; at < offset + bytes.size(); at += kPiece) {
        std::unique_lock lock(mutex_);
        for (const Piece& piece : pieces_of(at / kPiece, false)) {
            lock.unlock();
            const Tag tag = digest.of(bytes.subspan(piece.extent.begin - offset, piece.extent.size()));
            lock.lock();
            const bool was_never = piece.tag == nullptr || *piece.tag == kNever;
            if (was_never ? !used.touches(piece.extent) : *piece.tag == tag) continue;
            different.insert(piece.extent);
            if (!was_never) *piece.tag = kNever;
        }
    }
    return different;
}

ExtentSet SentTags::noted() const {
    const std::lock_guard lock(mutex_);
    ExtentSet noted;
    const auto add = [&](std::uint64_t slot) {
        noted.insert(Extent{slot * kPiece, (slot + 1) * kPiece}.clipped_to({0, size_bytes_}));
    };
    for (std::size_t r = 0; r < regions_.size(); ++r)
        for (std::size_t i = 0; regions_[r] != nullptr && i < regions_[r]->size(); ++i)
            if ((*regions_[r])[i] != kNever) add(r * Region().size() + i);
    for (const auto& [slot, tags] : fine_)
        if (std::ranges::any_of(tags, [](const Tag& tag) { return tag != kNever; })) add(slot);
    return noted;
}

}  // namespace dupengine::machine
