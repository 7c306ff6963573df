#include "wire/digest_ahead.h"

#include <algorithm>

namespace dupengine::wire {

using block::Extent;
using Tag = codec::KeyedDigest::Tag;

namespace {

// Ahead: what 4 groups tell is 64 MiB of a disk. Behind: workers that are late.
constexpr std::size_t kMostAhead = 4, kMostBehind = 4;

}  // namespace

std::shared_ptr<DigestAhead::Group> DigestAhead::ask_for(std::uint64_t piece, std::size_t most) {
    const std::uint64_t size = link_.opened().geometry.size_bytes;
    auto group = std::make_shared<Group>();
    group->begin = group->end = piece;
    std::vector<Extent> extents;
    const Extent rest{std::min(piece * kPieceBytes, size), size};
    auto at = std::ranges::upper_bound(expected_.begin(), expected_.end(), rest.begin, {}, &Extent::end);
    for (; at != expected_.end() && extents.size() < kMostExtents; ++at) {
        Extent part = at->clipped_to(rest);
        const bool is_full = group->pieces.size() == most;
        if (part.empty() || (is_full && part.begin >= (group->pieces.back() + 1) * kPieceBytes)) break;
        std::uint64_t next = part.begin / kPieceBytes;
        if (!group->pieces.empty()) next = std::max(next, group->pieces.back() + 1);
        const std::uint64_t last = (part.end - 1) / kPieceBytes;
        for (; next <= last && group->pieces.size() < most; ++next)
            group->pieces.push_back(next);
        part.end = std::min(part.end, (group->pieces.back() + 1) * kPieceBytes);
        extents.push_back(part);
    }
    if (extents.empty()) return nullptr;
    // Never half of a piece: its other extents would be missing in the digest.
    if (extents.size() == kMostExtents) {
        const ByteOffset cut = group->pieces.back() * kPieceBytes;
        while (!extents.empty() && extents.back().begin >= cut)
            extents.pop_back();
        if (!extents.empty()) extents.back().end = std::min(extents.back().end, cut);
        group->pieces.pop_back();
        if (extents.empty()) return nullptr;
    }
    group->end = group->pieces.back() + 1;
    group->asked = link_.ask(Type::kDigest, encode_extents(extents));
    return group;
}

// Null where nothing is expected.
std::shared_ptr<DigestAhead::Group> DigestAhead::group_of(std::uint64_t piece) {
    const auto is_in = [&](const auto& group) { return group->begin <= piece && piece < group->end; };
    auto found = std::ranges::find_if(groups_, is_in);
    if (found == groups_.end()) {
        // A place that nobody was near to: it begins anew there.
        size_ = kFirstGroup;
        groups_.clear();
        const auto group = ask_for(piece, size_);
        if (group != nullptr) groups_.push_back(group);
        return group;
    }
    const auto group = *found;
    while (groups_.size() > kMostBehind && groups_[kMostBehind]->end <= group->begin)
        groups_.pop_front();
    const auto ahead = [&] {
        return static_cast<std::size_t>(
            std::ranges::count_if(groups_, [&](const auto& other) { return other->begin >= group->end; }));
    };
    // Only who has come to the second half of a group goes on to the next.
    const bool goes_on = piece - group->begin >= (group->end - group->begin) / 2;
    while (goes_on && ahead() < kMostAhead) {
        size_ = std::min(size_ * 2, kMostDigests);
        auto next = ask_for(groups_.back()->end, size_);
        if (next == nullptr) break;
        next->begin = groups_.back()->end;
        groups_.push_back(std::move(next));
        if (size_ < kMostDigests) break;
    }
    return group;
}

// Without the mutex held. Each thread has one of its own meanwhile.
Tag DigestAhead::digest_ours(std::span<const std::byte> bytes) {
    std::unique_ptr<codec::KeyedDigest> digest;
    {
        const std::lock_guard lock(mutex_);
        if (!unused_.empty()) {
            digest = std::move(unused_.back());
            unused_.pop_back();
        }
    }
    if (digest == nullptr) digest = std::make_unique<codec::KeyedDigest>(key_);
    const Tag tag = digest->of(bytes);
    const std::lock_guard lock(mutex_);
    unused_.push_back(std::move(digest));
    return tag;
}

bool DigestAhead::is_ours(const Bytes& digests, std::size_t index, std::span<const std::byte> bytes) {
    return std::ranges::equal(digest_ours(bytes),
                              std::span(digests).subspan(index * sizeof(Tag), sizeof(Tag)));
}

bool DigestAhead::holds(ByteOffset offset, std::span<const std::byte> bytes) {
    const std::uint64_t piece = offset / kPieceBytes;
    if (offset % kPieceBytes != 0 || bytes.size() != kPieceBytes) return false;
    std::unique_lock lock(mutex_);
    const auto group = group_of(piece);
    if (group == nullptr) return false;
    const auto at = std::ranges::lower_bound(group->pieces, piece);
    if (at == group->pieces.end() || *at != piece) return false;
    const auto index = static_cast<std::size_t>(at - group->pieces.begin());
    if (group->digests == nullptr) {
        lock.unlock();
        // Several may wait for one group; the first to get it shares it.
        const Bytes digests = link_.wait_shared(group->asked, Type::kDigests);
        if (digests.size() != group->pieces.size() * sizeof(Tag))
            throw_not_honest("another number of digests than was asked for");
        lock.lock();
        if (group->digests == nullptr) group->digests = std::make_shared<const Bytes>(digests);
    }
    const auto digests = group->digests;
    lock.unlock();
    return is_ours(*digests, index, bytes);
}

bool DigestAhead::contradicts(ByteOffset offset, std::span<const std::byte> bytes) {
    const std::uint64_t piece = offset / kPieceBytes;
    // A digest is of what is expected, with zeros in between: only then is it of these bytes.
    if (offset % kPieceBytes != 0 || bytes.size() != kPieceBytes ||
        !expected_.contains({offset, offset + kPieceBytes}))
        return false;
    std::unique_lock lock(mutex_);
    for (const auto& group : groups_) {
        const auto at = std::ranges::lower_bound(group->pieces, piece);
        if (group->digests == nullptr || at == group->pieces.end() || *at != piece) continue;
        const auto digests = group->digests;
        lock.unlock();
        return !is_ours(*digests, static_cast<std::size_t>(at - group->pieces.begin()), bytes);
    }
    return false;
}

}  // namespace dupengine::wire
