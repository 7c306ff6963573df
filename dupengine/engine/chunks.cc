#include "engine/chunks.h"

#include <atomic>
#include <thread>

namespace dupengine::engine {

using block::Extent;

ChunkDealer::ChunkDealer(const block::ExtentSet& extents, std::uint64_t chunk_bytes)
    : extents_(extents), chunk_bytes_(chunk_bytes), at_(extents.begin()) {
    if (at_ != extents_.end()) position_ = at_->begin;
}

std::optional<Chunk> ChunkDealer::next() {
    const std::lock_guard lock(mutex_);
    if (at_ == extents_.end()) return {};
    Chunk chunk{number_++, align_down(position_, chunk_bytes_), {}};
    const ByteOffset chunk_end = chunk.base + chunk_bytes_;
    while (at_ != extents_.end() && position_ < chunk_end) {
        const ByteOffset end = std::min(at_->end, chunk_end);
        chunk.extents.push_back({position_, end});
        position_ = end;
        if (end == at_->end && ++at_ != extents_.end()) position_ = at_->begin;
    }
    return chunk;
}

std::size_t count_chunks(const block::ExtentSet& extents, std::uint64_t chunk_bytes) {
    std::size_t count = 0;
    ByteOffset counted_to = 0;  // end of the last chunk that was counted
    for (Extent e : extents) {
        const ByteOffset first = std::max(align_down(e.begin, chunk_bytes), counted_to);
        if (e.end <= first) continue;
        count += (e.end - first + chunk_bytes - 1) / chunk_bytes;
        counted_to = align_up(e.end, chunk_bytes);
    }
    return count;
}

namespace {

class FirstError {
  public:
    void keep(std::exception_ptr error) {
        const std::lock_guard lock(mutex_);
        if (!error_) error_ = std::move(error);
        failed_.store(true);
    }
    bool failed() const { return failed_.load(); }
    void rethrow() const {
        if (error_) std::rethrow_exception(error_);
    }

  private:
    std::mutex mutex_;
    std::exception_ptr error_;
    std::atomic<bool> failed_{false};
};

}  // namespace

void for_each_chunk(const block::ExtentSet& extents, std::uint64_t chunk_bytes, unsigned workers,
                    std::stop_token stop,
                    const std::function<void(const Chunk&, std::span<std::byte> buffer)>& work) {
    ChunkDealer dealer(extents, chunk_bytes);
    FirstError error;
    const auto run = [&] {
        try {
            AlignedBuffer buffer(chunk_bytes);
            while (!error.failed()) {
                if (stop.stop_requested())
                    throw_error(
                        Code::kInterrupted,
                        "stopped on request; the target is marked unfinished, run the same command again");
                const auto chunk = dealer.next();
                if (!chunk) return;
                work(*chunk, buffer.all());
            }
        } catch (...) {
            error.keep(std::current_exception());
        }
    };
    {
        std::vector<std::jthread> others;
        for (unsigned i = 1; i < workers; ++i)
            others.emplace_back(run);
        run();
    }
    error.rethrow();
}

}  // namespace dupengine::engine
