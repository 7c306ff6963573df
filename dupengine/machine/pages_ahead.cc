#include "machine/pages_ahead.h"

#include <system_error>

namespace dupengine::machine {
namespace {

// So many at once that the two threads seldom wait for each other, and so few that they stay near the
// processor.
constexpr std::uint64_t kBlockPages = 128;

}  // namespace

PagesAhead::PagesAhead(const NextImagePage& next_page)
    : next_page_(next_page), blocks_{Block{PageRoom(kBlockPages)}, Block{PageRoom(kBlockPages)}} {
    try {
        thread_ = std::thread([this] { read_all(); });
    } catch (const std::system_error&) {
        // No thread is to be had: next() reads.
    }
}

PagesAhead::~PagesAhead() {
    {
        const std::lock_guard lock(mutex_);
        is_over_ = true;
    }
    changed_.notify_all();
    if (thread_.joinable()) thread_.join();
}

// Fewer pages than fit: they are the last.
void PagesAhead::read(Block& block) const {
    block.pages = 0;
    while (block.pages < kBlockPages && next_page_(block.room.page(block.pages)))
        ++block.pages;
}

void PagesAhead::read_all() {
    for (std::size_t i = 0;; i = (i + 1) % blocks_.size()) {
        Block& block = blocks_[i];
        {
            std::unique_lock lock(mutex_);
            changed_.wait(lock, [&] { return is_over_ || !block.is_full; });
            if (is_over_) return;
        }
        std::exception_ptr failure;
        try {
            read(block);
        } catch (...) {
            failure = std::current_exception();
        }
        const bool is_last = failure || block.pages < kBlockPages;
        {
            const std::lock_guard lock(mutex_);
            failure_ = failure;
            block.is_full = true;
        }
        changed_.notify_all();
        if (is_last) return;
    }
}

void PagesAhead::wait_for(Block& block) {
    if (!thread_.joinable()) {
        if (!block.is_full) read(block);
        block.is_full = true;
        return;
    }
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return block.is_full; });
}

std::span<const std::byte> PagesAhead::next() {
    wait_for(blocks_[block_]);
    if (page_ == kBlockPages) {
        {
            const std::lock_guard lock(mutex_);
            blocks_[block_].is_full = false;
        }
        changed_.notify_all();
        block_ = (block_ + 1) % blocks_.size();
        page_ = 0;
        wait_for(blocks_[block_]);
    }
    const Block& block = blocks_[block_];
    if (page_ < block.pages) return block.room.page(page_++);
    if (failure_) std::rethrow_exception(failure_);
    return {};
}

}  // namespace dupengine::machine
