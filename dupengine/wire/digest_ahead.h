#pragma once
// Digests of what the other end expects us to compare: asked for in groups, ahead of whoever compares, in the
// order of the plan. A group grows while one is used after the other, and is small again after a jump, so
// that a few samples do not make the other end read all of its disk. From any thread.

#include <deque>

#include "wire/link.h"

namespace dupengine::wire {

class DigestAhead {
  public:
    /// `expected` outlives it.
    DigestAhead(Link& link, const block::ExtentSet& expected)
        : link_(link), expected_(expected), key_(digest_key(link.transfer())) {}
    /// As Reader::holds, for a piece of kPieceBytes that `offset` begins.
    bool holds(ByteOffset offset, std::span<const std::byte> bytes);
    /// Whether a digest of this piece has come, and is of other bytes. Never waits.
    bool contradicts(ByteOffset offset, std::span<const std::byte> bytes);

  private:
    struct Group {
        std::uint64_t begin = 0, end = 0;   // pieces that it tells of
        std::vector<std::uint64_t> pieces;  // those that have a digest, ascending
        Link::Asked asked;
        std::shared_ptr<const Bytes> digests;  // null: not come yet
    };
    std::shared_ptr<Group> ask_for(std::uint64_t piece, std::size_t most);
    std::shared_ptr<Group> group_of(std::uint64_t piece);
    bool is_ours(const Bytes& digests, std::size_t index, std::span<const std::byte> bytes);
    codec::KeyedDigest::Tag digest_ours(std::span<const std::byte> bytes);

    Link& link_;
    const block::ExtentSet& expected_;
    const codec::KeyedDigest::Key key_;
    std::mutex mutex_;
    std::vector<std::unique_ptr<codec::KeyedDigest>> unused_;
    std::deque<std::shared_ptr<Group>> groups_;  // ascending; each begins where the one before ends, or later
    std::size_t size_ = kFirstGroup;
    static constexpr std::size_t kFirstGroup = 16;
};

}  // namespace dupengine::wire
