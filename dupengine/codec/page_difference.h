#pragma once
// Differences between two states of memory, page by page, in words of 8 bytes. The sender compares what a
// page was with what it is and writes the words that differ into a group; the receiver applies the group to
// its own copy of the old pages by swapping: each word of the group and the word it stands for change places.
// Afterwards the pages are new and the group holds what they were, so the same call takes it back, and
// a set of groups of which the end never came is undone, group by group, the last one first.
//
//     before, after -> GroupWriter::add ... finish -> bytes to send
//     bytes -> group_size -> a buffer of held_bytes, filled up with zeros -> swap_group (-> swap_group:
//     undone)
//
// A group (dupengine-formats(5), "Groups of page differences") is a table of fixed entries and then the
// words, so that it is checked as a whole before the first page is touched, and is applied while the next one
// is on its way. The words of a page that became zero are not sent, but have room behind the others in the
// group that the receiver holds: what the page was must go somewhere.
// Bytes of the group that got lost or changed on the way are for the channel to find; here they can do no
// harm but to the pages that they name.
//
// Nothing in here allocates but hold_group, and nothing touches a file: it runs while everything else is
// frozen. Neither pages nor buffers need any alignment. Groups of disjoint pages may be written, or applied
// to the same memory, in different threads at the same time.

#include <cstdint>
#include <span>

#include "base/bytes.h"
#include "codec/page_path.h"

namespace dupengine::codec {

inline constexpr std::size_t kMaxGroupPages = 256;
inline constexpr std::size_t kGroupHeaderBytes = 24;
inline constexpr std::size_t kGroupEntryBytes =
    8 + kPageBytes / 64;  // the page's number, a bit for each word
/// No group is larger, neither on the wire nor held.
inline constexpr std::size_t kMaxGroupBytes =
    kGroupHeaderBytes + kMaxGroupPages * (kGroupEntryBytes + kPageBytes);
/// The least room in which a group can be begun.
inline constexpr std::size_t kMinGroupRoom =
    kGroupHeaderBytes + kMaxGroupPages * kGroupEntryBytes + kPageBytes;

/// Writes one group into memory of the caller's. Of a large memory the caller gives what is left, and after
/// finish() begins the next group behind this one.
class GroupWriter {
  public:
    /// Throws kInternal if `room` is smaller than kMinGroupRoom, kUnsupported if this processor lacks `path`.
    explicit GroupWriter(std::span<std::byte> room, PagePath path = fastest_page_path());

    enum class Added {
        kEqual,  ///< the page did not change: there is nothing to send
        kAdded,
        kFull,  ///< nothing was added: finish this group, begin another, and add the page there
    };
    /// `before` and `after` are kPageBytes each; `number` is greater than those added before (kInternal if
    /// not). A page that became zero costs its entry only; one in which nearly all words differ is sent
    /// whole.
    Added add(std::uint64_t number, std::span<const std::byte> before, std::span<const std::byte> after);
    /// For a page whose old content the sender does not know: what the receiver holds is replaced.
    Added add_whole(std::uint64_t number, std::span<const std::byte> after);

    /// For a page of which is known which lines of 64 bytes changed: bit n stands for line n.
    Added add_lines(std::uint64_t number, std::uint64_t changed_lines, std::span<const std::byte> after);

    std::size_t pages() const { return pages_; }
    /// The group, complete; it begins where the room does. Called once, and nothing is added any more.
    std::span<const std::byte> finish();

  private:
    void check_next(std::uint64_t number, std::size_t page_bytes) const;
    bool is_full() const;
    Added take(std::uint64_t number, std::span<const std::byte> after, std::size_t changed);
    std::span<std::byte> next_entry() const;
    std::byte* next_words() const;

    std::span<std::byte> room_;
    PagePath path_;
    std::size_t pages_ = 0, sent_words_ = 0, zero_words_ = 0;
    std::uint64_t least_number_ = 0;
};

struct GroupSize {
    std::size_t sent_bytes;  ///< what is on the wire, with the header
    std::size_t held_bytes;  ///< with the room for the words of pages that became zero
    std::size_t pages;
};

/// What the first kGroupHeaderBytes say of the whole, within the limits. Throws kIntegrity.
GroupSize group_size(std::span<const std::byte> header);

/// A group as it came, in a buffer of held_bytes. Throws kIntegrity unless it is exactly as long as it says.
Bytes hold_group(std::span<const std::byte> sent);

/// Applies a group, or takes it back: swaps its words with those of the pages. Page n is at n * kPageBytes of
/// `memory`; `group` is held_bytes long and does not overlap it. All of the group is checked first: throws
/// kIntegrity, and then neither has changed.
void swap_group(std::span<std::byte> group, std::span<std::byte> memory, PagePath path = fastest_page_path());

}  // namespace dupengine::codec
