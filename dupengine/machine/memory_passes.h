#pragma once
// What of this machine's memory the target does not have yet: in passes over all of it while the machine
// runs, and once more over an image of it while everything is frozen. Of each page the tag of what was sent
// last is known; of those that keep changing, the tags of its lines, too.
//
//     begin_pass, next ... (empty: the pass is over)       each pass sends what changed since the one before
//     take_image            the image, page by page: what differs is copied into memory of our own
//     next_of_image ...     that, as groups of differences, and the image's own pages and end
//
// An image that turns out to be of no use is sent all the same, and another pass may follow it.
//
// Used by one thread. take_image() runs while everything else is frozen: it touches no file.

#include <functional>
#include <optional>

#include "codec/page_difference.h"
#include "machine/dead_pages.h"
#include "machine/kept_lines.h"
#include "machine/memory_shape.h"
#include "machine/page_room.h"
#include "machine/pages_ahead.h"
#include "machine/physical_memory.h"

namespace dupengine::machine {

struct PassReport {
    std::uint64_t pages_looked_at = 0, pages_sent = 0;
    std::uint64_t bytes_sent = 0;  ///< in groups
    double seconds = 0;            ///< at work
};

struct ImageReport {
    std::uint64_t pages = 0;  ///< of the image
    std::uint64_t pages_known = 0;
    std::uint64_t pages_dead = 0;  ///< of no use to the duplicate
    std::uint64_t bytes_sent = 0;  ///< grows with next_of_image()
    bool is_whole = false;         ///< its layout is not known: it goes as it is
};

class MemoryPasses {
  public:
    /// `memory` outlives it. Of at most `most_kept` pages lines are kept.
    MemoryPasses(const PhysicalMemory& memory, const codec::PageTagger::Key& key, std::uint64_t most_kept);

    const MemoryShape& shape() const { return shape_; }

    void begin_pass();
    /// The next group of the pass, in `room` (as codec::GroupWriter); empty: it is over.
    std::span<const std::byte> next(std::span<std::byte> room);
    /// Of the pass that was begun last.
    const PassReport& report() const { return report_; }

    /// Of `dead` pages the target keeps what it has.
    void take_image(const NextImagePage& next_page, const PageNumbers& dead = {});
    /// Memory that only this end needs, for work after the image.
    std::vector<std::span<const std::byte>> rooms() const;
    std::span<const std::byte> next_of_image(std::span<std::byte> room);
    const ImageReport& image() const { return image_; }

  private:
    struct Different {
        std::uint64_t number;
        std::uint64_t place;  // in copies_
        bool was_zeros = false;
    };
    void read_ahead();
    bool will_change_in_lines() const;
    codec::GroupWriter::Added send(codec::GroupWriter& writer, std::uint64_t number,
                                   std::span<const std::byte> page, bool was_zeros);
    bool take_own_pages(const NextImagePage& next_page);
    void take_whole(const NextImagePage& next_page);
    std::span<std::byte> copy_room();
    void take_own_page();
    void end_image(std::uint64_t own_pages, std::uint64_t memory_pages);

    const PhysicalMemory& memory_;
    MemoryShape shape_;
    codec::PageTagger tagger_;
    std::vector<std::uint64_t> tags_;  // what the target has, by page
    KeptLines kept_;
    unsigned passes_ = 0;
    PassReport report_;

    // The pass under way: where it is, and what was read and not looked at yet.
    std::size_t range_ = 0;
    std::uint64_t at_ = 0;
    std::vector<PagesInUse> in_use_;
    std::size_t next_in_use_ = 0;
    PageRange read_{};
    bool has_records_ = false;
    std::uint64_t looked_to_ = 0;
    Bytes buffer_;

    ImageReport image_;
    std::optional<PageRoom> copies_;
    std::uint64_t copied_ = 0;
    std::vector<Different> different_;
    std::vector<std::uint64_t> numbers_;
    std::vector<std::uint64_t> image_tags_;
    std::size_t next_different_ = 0;
};

}  // namespace dupengine::machine
