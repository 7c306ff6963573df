#include "machine/hot_disk.h"

#include <algorithm>

#include "base/copy_bytes.h"
#include "base/units.h"

namespace dupengine::machine {
namespace {

using block::Extent;
using block::ExtentSet;

// What planning reads, and what the last round names: in memory until it was copied.
constexpr std::uint64_t kMostAtRest = 512 * kMiB, kMostHeld = 256 * kMiB;
// A disk that is written as fast as it is copied never gets there.
constexpr std::uint32_t kMostRounds = 32;
// Before anything was measured: what a disk reads at least.
constexpr double kSlowDisk = 100e6;
constexpr std::size_t kReadAtOnce = kMiB;

// Runs the second half of a pair on every way out.
class AtEnd {
  public:
    explicit AtEnd(std::function<void()> work) : work_(std::move(work)) {}
    ~AtEnd() {
        if (work_) work_();
    }
    AtEnd(const AtEnd&) = delete;
    AtEnd& operator=(const AtEnd&) = delete;

  private:
    std::function<void()> work_;
};

// Copies what is kept of a range. Returns how much that was.
std::size_t lay_over(const std::map<ByteOffset, Bytes>& kept, ByteOffset offset,
                     std::span<std::byte> buffer) {
    const Extent asked{offset, offset + buffer.size()};
    std::size_t copied = 0;
    auto piece = kept.upper_bound(offset);
    if (piece != kept.begin()) --piece;
    for (; piece != kept.end() && piece->first < asked.end; ++piece) {
        const Extent both = Extent{piece->first, piece->first + piece->second.size()}.clipped_to(asked);
        if (both.empty()) continue;
        copy_bytes(std::span(piece->second).subspan(both.begin - piece->first, both.size()),
                   buffer.subspan(both.begin - offset));
        copied += both.size();
    }
    return copied;
}

}  // namespace

HotDisk::HotDisk(const block::Reader& disk, const std::string& path, std::vector<std::string> roots,
                 HotOptions options)
    : disk_(disk),
      options_(std::move(options)),
      tracker_(path, disk.geometry().size_bytes),
      freezer_(std::move(roots), options_.freeze_deadline),
      bytes_per_second_(kSlowDisk) {}

HotDisk::~HotDisk() = default;

void HotDisk::look_at_rest(const std::function<ExtentSet()>& look) {
    freezer_.sync();
    const auto start = Clock::now();
    freezer_.freeze();
    std::exception_ptr failure;
    try {
        tracker_.take();  // what was written until here is seen by whoever reads from here on
        const ExtentSet kept = look();
        if (kept.total_bytes() > kMostAtRest)
            throw_error(Code::kUnsupported, "{}: planning its copy needs {} of it; {} can be kept", name(),
                        format_size(kept.total_bytes()), format_size(kMostAtRest));
        at_rest_ = read_all(kept);
    } catch (...) {
        failure = std::current_exception();
    }
    freezer_.thaw();
    report_.first_pause = std::chrono::duration<double>(Clock::now() - start).count();
    for (const std::string& root : freezer_.not_frozen())
        report_.notes.push_back(root + ": its filesystem cannot be frozen; it was written out instead");
    if (failure) std::rethrow_exception(failure);
}

ExtentSet HotDisk::take_changes() {
    ExtentSet changed = tracker_.take();
    changed.erase(untracked_);
    return changed;
}

std::chrono::duration<double> HotDisk::expected_pause() const {
    const std::chrono::duration<double> to_freeze(report_.first_pause);
    return to_freeze +
           std::chrono::duration<double>(static_cast<double>(tracker_.pending_bytes()) / bytes_per_second_);
}

std::shared_ptr<const block::Changes> HotDisk::round(std::uint32_t number) {
    const std::lock_guard lock(mutex_);
    if (number == number_ && round_) return round_;
    if (number != number_ + 1 || (round_ && round_->is_last))
        throw_error(Code::kPeer, "round {} was asked for after round {}", number, number_);
    round_ = next_round(number);
    number_ = number;
    report_.round_bytes.push_back(round_->extents.total_bytes());
    return round_;
}

std::shared_ptr<const block::Changes> HotDisk::next_round(std::uint32_t number) {
    freezer_.sync();
    if (expected_pause() <= options_.max_pause)
        if (auto last = last_round()) return last;
    if (number >= kMostRounds)
        throw_error(
            Code::kRefused,
            "{}: after {} rounds {} are still to be copied, and a pause of {:.1f} s is expected: it is "
            "written too fast for --max-pause {:.1f}",
            name(), number, format_size(tracker_.pending_bytes()), expected_pause().count(),
            std::chrono::duration<double>(options_.max_pause).count());
    auto round = std::make_shared<block::Changes>();
    round->extents = take_changes();
    return round;
}

HotDisk::Kept HotDisk::read_all(const ExtentSet& extents) const {
    Kept kept;
    for (const Extent e : extents) {
        Bytes bytes(e.size());
        for (std::size_t done = 0; done < bytes.size(); done += kReadAtOnce) {
            const auto part = std::span(bytes).subspan(done, std::min(kReadAtOnce, bytes.size() - done));
            disk_.read_from_medium(e.begin + done, part);
        }
        kept.emplace(e.begin, std::move(bytes));
    }
    return kept;
}

// Into memory, measuring what the disk gives. False, with nothing held, if that is too much.
bool HotDisk::hold(const ExtentSet& changed) {
    if (changed.total_bytes() > kMostHeld) return false;
    const auto start = Clock::now();
    held_ = read_all(changed);
    const double seconds = std::chrono::duration<double>(Clock::now() - start).count();
    if (changed.total_bytes() > 16 * kMiB)
        bytes_per_second_ = static_cast<double>(changed.total_bytes()) / std::max(seconds, 1e-3);
    return true;
}

// Null if more was written until everything was at rest than can be held: then it is an ordinary round's.
std::shared_ptr<const block::Changes> HotDisk::last_round() {
    bool is_done = false;
    if (options_.prepare) options_.prepare();
    const AtEnd resume([&] {
        if (options_.resume) options_.resume(is_done);
    });
    auto round = std::make_shared<block::Changes>();
    const auto start = Clock::now();
    freezer_.freeze();
    std::exception_ptr failure;
    try {
        round->extents = take_changes();
        round->is_last = hold(round->extents);
    } catch (...) {
        failure = std::current_exception();
    }
    freezer_.thaw();
    if (failure) std::rethrow_exception(failure);
    is_held_ = is_done = round->is_last;
    report_.last_pause = std::chrono::duration<double>(Clock::now() - start).count();
    return round;
}

void HotDisk::read(ByteOffset offset, std::span<std::byte> buffer) const {
    disk_.read_from_medium(offset, buffer);
    lay_over(at_rest_, offset, buffer);
}

void HotDisk::read_from_medium(ByteOffset offset, std::span<std::byte> buffer) const {
    if (!is_held_) return disk_.read_from_medium(offset, buffer);
    if (lay_over(held_, offset, buffer) != buffer.size())
        throw_error(Code::kRefused, "{}: {} is not of the last round, and the disk has gone on", name(),
                    Extent{offset, offset + buffer.size()}.text());
}

HotReport HotDisk::report() const {
    const std::lock_guard lock(mutex_);
    return report_;
}

}  // namespace dupengine::machine
