#include "machine/live_memory.h"

namespace dupengine::machine {
namespace {

// The first pass takes long, and what it began with is old by then.
constexpr unsigned kLeastPasses = 2, kMostPasses = 8;
// A pass that sends nearly as much as the one before has nothing more to gain.
constexpr double kGain = 0.7;
// Small enough for the pause, whatever the others were.
constexpr std::uint64_t kFewPages = 512;
// Of a page, beside reading it and taking its tag, as passes do: the kernel copies it, and gives it out.
constexpr double kImageWork = 2.5;
// What freezing and the drivers take before any page is looked at.
constexpr double kLeastPause = 0.1;

}  // namespace

LiveMemory::LiveMemory(LiveProcess& process, std::chrono::milliseconds max_pause)
    : process_(process), max_pause_(max_pause) {}

double LiveMemory::expected_pause() const {
    if (!report_.pauses.empty()) return report_.pauses.back().total();
    return kLeastPause + (report_.passes.empty() ? 0 : report_.passes.back().seconds * kImageWork);
}

void LiveMemory::end_pass() {
    is_in_pass_ = false;
    report_.passes.push_back(process_.pass());
    ++passes_since_pause_;
    const auto& passes = report_.passes;
    const auto sent = static_cast<double>(passes.back().pages_sent);
    const bool gains = passes.size() < 2 || sent < kGain * static_cast<double>(passes.end()[-2].pages_sent);
    const bool is_small = passes.back().pages_sent <= kFewPages;
    if (passes.size() >= kLeastPasses && (is_small || !gains || passes_since_pause_ >= kMostPasses))
        state_ = State::kReady;
}

// Empty: there is none at the moment.
Bytes LiveMemory::next_bytes() {
    while (state_ == State::kPasses) {
        if (!is_in_pass_) process_.begin_pass();
        is_in_pass_ = true;
        if (const auto group = process_.next(); !group.empty()) return {group.begin(), group.end()};
        end_pass();
    }
    if (state_ == State::kImage) {
        if (const auto group = process_.next_of_image(); !group.empty()) return {group.begin(), group.end()};
        report_.image = process_.image();
        state_ = is_moment_ ? State::kEnd : State::kPasses;
        passes_since_pause_ = 0;
    }
    return {};
}

MemoryGroup LiveMemory::group(std::uint32_t number) {
    const std::lock_guard lock(mutex_);
    if (failure_) std::rethrow_exception(failure_);
    if (number + 1 == next_number_) return {MemoryGroup::Kind::kGroup, last_};
    if (number != next_number_)
        throw_error(Code::kPeer, "group {} of memory was asked for, and {} is next", number, next_number_);
    try {
        last_ = next_bytes();
    } catch (...) {
        failure_ = std::current_exception();
        changed_.notify_all();
        throw;
    }
    changed_.notify_all();
    if (last_.empty())
        return {state_ == State::kEnd ? MemoryGroup::Kind::kEnd : MemoryGroup::Kind::kNotYet, {}};
    ++next_number_;
    return {MemoryGroup::Kind::kGroup, last_};
}

bool LiveMemory::wait_until_ready(std::chrono::milliseconds patience, const std::stop_token& stop) {
    std::unique_lock lock(mutex_);
    const bool is_over = changed_.wait_for(lock, stop, patience,
                                           [&] { return state_ == State::kReady || failure_ != nullptr; });
    if (stop.stop_requested()) throw_error(Code::kInterrupted, "stopped on request");
    if (failure_) std::rethrow_exception(failure_);
    if (!is_over) return false;
    const double limit = std::chrono::duration<double>(max_pause_).count();
    if (expected_pause() > limit)
        throw_error(Code::kRefused,
                    "this machine's memory takes a pause of {:.2f} s, and --max-pause allows {:.2f}",
                    expected_pause(), limit);
    return true;
}

AtRest LiveMemory::black_out() {
    const std::lock_guard lock(mutex_);
    try {
        LiveProcess::Blackout blackout = process_.black_out();
        report_.pauses.push_back(blackout.pause);
        is_moment_ = blackout.rest.is_moment;
        state_ = State::kImage;
        return std::move(blackout.rest);
    } catch (...) {
        failure_ = std::current_exception();
        throw;
    }
}

bool LiveMemory::is_all_given() const {
    const std::lock_guard lock(mutex_);
    return state_ == State::kEnd;
}

LiveReport LiveMemory::report() const {
    const std::lock_guard lock(mutex_);
    return report_;
}

}  // namespace dupengine::machine
