#pragma once
// Of pages that keep changing, what the target has of them, line by line as tags: so only the lines that
// changed are sent, and what is kept is an eighth of the pages. It is part of this machine's memory, too, and
// is sent with that.
//
// Used by one thread; takes its room at once, and touches no more of it than it holds.

#include <unordered_map>

#include "codec/page_tag.h"
#include "machine/page_room.h"

namespace dupengine::machine {

class KeptLines {
  public:
    /// Of at most so many pages.
    explicit KeptLines(std::uint64_t most);
    /// Null if it is not kept.
    const codec::LineTags* find(std::uint64_t number) const;
    /// Keeps it if there is room, or replaces what is kept of this number.
    void keep(std::uint64_t number, const codec::LineTags& lines);
    std::uint64_t count() const { return places_.size(); }
    std::uint64_t most() const { return most_; }
    std::span<const std::byte> room() const { return room_.all(); }

  private:
    std::span<codec::LineTags> all() const;

    std::uint64_t most_;
    PageRoom room_;
    std::unordered_map<std::uint64_t, std::uint64_t> places_;
};

}  // namespace dupengine::machine
