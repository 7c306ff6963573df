#include "engine/chunks.h"

#include <algorithm>
#include <atomic>
#include <deque>
#include <thread>

#include "engine/throttle.h"

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

std::uint64_t size_of(const Chunk& chunk) {
    std::uint64_t size = 0;
    for (Extent e : chunk.extents)
        size += e.size();
    return size;
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

// What waits a turn waits for so many chunks at most: what was asked for it far away takes its time.
constexpr unsigned kMostTurns = 16;

// Enough transfers at once for a few chunks in pieces; what is more is done at once.
constexpr unsigned kMostTransfers = 128;

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

std::span<std::byte> Slot::bytes_of(block::Extent extent, unsigned area) const {
    const std::size_t area_bytes = memory_.size() / areas_;
    return memory_.subspan((area ^ first_area_) * area_bytes + (extent.begin - chunk.base), extent.size());
}

void Slot::start_read(const block::Reader& from, block::Extent extent, block::Reader::From where,
                      unsigned area) {
    from.start_read(transfers_, number_, extent.begin, bytes_of(extent, area), where);
    ++under_way_;
}

void Slot::start_write(block::Target& to, block::Extent extent) {
    to.start_write(transfers_, number_, extent.begin, bytes_of(extent));
    ++under_way_;
}

// One worker: its slots, and the transfers of all of them.
class Lane {
  public:
    Lane(const Lanes& lanes, const ChunkWork& work)
        : work_(work),
          transfers_(std::size_t{lanes.depth} * lanes.areas * lanes.chunk_bytes, kMostTransfers) {
        const std::size_t slot_bytes = lanes.areas * lanes.chunk_bytes;
        for (std::size_t i = 0; i < lanes.depth; ++i) {
            slots_.emplace_back(i, transfers_.memory().subspan(i * slot_bytes, slot_bytes), lanes.areas,
                                transfers_);
            free_.push_back(&slots_.back());
        }
    }

    bool has_room() const { return !free_.empty(); }
    bool any_under_way() const { return free_.size() != slots_.size(); }
    /// A transfer is done already: its chunk goes on while its bytes are in the processor's cache.
    bool can_go_on() const { return transfers_.any_done() || is_next_due(); }

    void begin(Chunk chunk) {
        Slot& slot = *free_.back();
        free_.pop_back();
        slot.chunk = std::move(chunk);
        slot.stage_ = Slot::Stage::kReading;
        slot.incomplete = false;
        ++turns_;
        try {
            work_.read(slot);
        } catch (const Error& e) {
            accept_or_throw(slot, e);
        }
        go_on(slot);
    }

    void wait() {
        if (is_next_due() || (!later_.empty() && !transfers_.any_under_way())) return go_on(next_of_later());
        const block::Transfers::Done done = transfers_.wait();
        Slot& slot = slots_[done.tag];
        --slot.under_way_;
        if (done.error) {
            try {
                std::rethrow_exception(done.error);
            } catch (const Error& e) {
                accept_or_throw(slot, e);
            }
        }
        go_on(slot);
    }

  private:
    // Within a handler of `e`.
    void accept_or_throw(Slot& slot, const Error& e) {
        if (slot.stage_ != Slot::Stage::kReading || !work_.read_failed) throw;
        work_.read_failed(slot, e);
    }

    bool is_next_due() const { return !later_.empty() && turns_ >= kMostTurns; }

    Slot& next_of_later() {
        Slot& slot = *later_.front();
        later_.pop_front();
        turns_ = 0;
        return slot;
    }

    void go_on(Slot& slot) {
        if (slot.under_way_ == 0 && slot.stage_ == Slot::Stage::kReading) {
            slot.stage_ = Slot::Stage::kWriting;
            work_.look(slot);
            if (slot.stage_ == Slot::Stage::kReading) {
                if (later_.empty()) turns_ = 0;
                return later_.push_back(&slot);
            }
        }
        if (slot.under_way_ != 0) return;
        work_.end(slot);
        slot.stage_ = Slot::Stage::kFree;
        free_.push_back(&slot);
    }

    const ChunkWork& work_;
    block::Transfers transfers_;
    std::deque<Slot> slots_;
    std::vector<Slot*> free_;
    std::deque<Slot*> later_;  // they wait a turn
    unsigned turns_ = 0;       // chunks that were begun since the first of these could have had its own
};

void for_each_chunk(const block::ExtentSet& extents, const Lanes& lanes, std::stop_token stop,
                    const ChunkWork& work) {
    ChunkDealer dealer(extents, lanes.chunk_bytes);
    Throttle throttle(lanes.bytes_per_second);
    FirstError error;
    const auto run = [&] {
        try {
            Lane lane(lanes, work);
            bool more = true;
            while (!error.failed() && (more || lane.any_under_way())) {
                if (stop.stop_requested())
                    throw_error(
                        Code::kInterrupted,
                        "stopped on request; the target is marked unfinished, run the same command again");
                if (!more || !lane.has_room() || lane.can_go_on()) {
                    lane.wait();
                } else if (auto chunk = dealer.next()) {
                    if (work.leaves_out && work.leaves_out(*chunk)) continue;
                    throttle.pass(size_of(*chunk), [&] { return error.failed() || stop.stop_requested(); });
                    lane.begin(std::move(*chunk));
                } else {
                    more = false;
                }
            }
        } catch (...) {
            error.keep(std::current_exception());
        }
    };
    {
        std::vector<std::jthread> others;
        for (unsigned i = 1; i < lanes.workers; ++i)
            others.emplace_back(run);
        run();
    }
    error.rethrow();
}

}  // namespace dupengine::engine
