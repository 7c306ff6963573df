#pragma once
// Pages of an image, read by a thread of its own while those before are looked at: the kernel gives them one
// by one, and to give one takes as long as to look at it. The thread begins and ends while everything else is
// frozen; it may run because who begins it may (Linux: PF_SUSPEND_TASK, which children have, too).
//
// Used by one thread.

#include <array>
#include <condition_variable>
#include <exception>
#include <functional>
#include <mutex>
#include <span>
#include <thread>

#include "machine/page_room.h"

namespace dupengine::machine {

/// Gives the next page of an image; false: that was all.
using NextImagePage = std::function<bool(std::span<std::byte> page)>;

class PagesAhead {
  public:
    /// `next_page` is called by that thread, until this ends.
    explicit PagesAhead(const NextImagePage& next_page);
    ~PagesAhead();
    PagesAhead(const PagesAhead&) = delete;
    PagesAhead& operator=(const PagesAhead&) = delete;

    /// Valid until the next call; empty: that was all. Throws what `next_page` throws.
    std::span<const std::byte> next();

  private:
    // One is read into while the other is looked at.
    struct Block {
        PageRoom room;
        std::size_t pages = 0;
        bool is_full = false;  // or all that there is
    };
    void read_all();
    void read(Block& block) const;
    void wait_for(Block& block);

    const NextImagePage& next_page_;
    std::array<Block, 2> blocks_;
    std::size_t block_ = 0, page_ = 0;
    std::mutex mutex_;
    std::condition_variable changed_;
    bool is_over_ = false;
    std::exception_ptr failure_;
    std::thread thread_;  // last: it uses the rest
};

}  // namespace dupengine::machine
