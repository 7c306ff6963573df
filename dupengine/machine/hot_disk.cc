#include "machine/hot_disk.h"

#include <algorithm>
#include <utility>

#include "base/aligned_buffer.h"
#include "base/copy_bytes.h"
#include "base/units.h"
#include "machine/digest_tracker.h"

namespace dupengine::machine {
namespace {

using block::Changes;
using block::Extent;
using block::ExtentSet;

// What planning reads, and what the last round names: in memory until it was copied.
constexpr std::uint64_t kMostAtRest = 512 * kMiB, kMostHeld = 256 * kMiB;
// A disk on which somebody writes who is not brought to rest never is.
constexpr unsigned kMostTries = 5;
// What the last round would have to read, and another one before it could take off it.
constexpr std::uint64_t kFewBytes = 4 * kMiB;
constexpr unsigned kMostShorteningRounds = 4;
// Before anything was measured: what a disk reads at least.
constexpr double kSlowDisk = 100e6;
constexpr std::size_t kReadAtOnce = kMiB;
// What planning reads is kept in pieces of this size.
constexpr std::size_t kKeptPiece = 64 * kKiB;
static_assert(kKeptPiece == ChangeTracker::kNotedPiece, "what is kept is told as it is");

// What planning kept is of another moment than what is looked at now.
class OnMedium final : public block::Reader {
  public:
    explicit OnMedium(const block::Reader& disk) : disk_(disk) {}
    const block::Geometry& geometry() const override { return disk_.geometry(); }
    const std::string& name() const override { return disk_.name(); }
    void read(ByteOffset offset, std::span<std::byte> buffer) const override {
        disk_.read_from_medium(offset, buffer);
    }

  private:
    const block::Reader& disk_;
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

std::vector<std::uint64_t> filesystems_of(const DiskUses& uses) {
    std::vector<std::uint64_t> found;
    for (const MountPlace& mount : uses.mounts)
        found.push_back(mount.filesystem);
    std::ranges::sort(found);
    found.erase(std::unique(found.begin(), found.end()), found.end());
    return found;
}

}  // namespace

HotDisk::HotDisk(const block::Reader& disk, const std::string& path, HotOptions options)
    : HotDisk(disk,
              std::make_unique<RowTracker>(std::vector<FollowedDisk>{{path, disk.geometry().size_bytes}}),
              std::move(options)) {}

HotDisk::HotDisk(const block::Reader& row, std::unique_ptr<ChangeTracker> tracker, HotOptions options)
    : disk_(row), options_(std::move(options)), tracker_(std::move(tracker)), bytes_per_second_(kSlowDisk) {}

HotDisk::~HotDisk() = default;

void HotDisk::note_not_frozen(const FrozenFilesystems& frozen) {
    for (const std::string& path : frozen.not_frozen()) {
        const std::string note = path + ": its filesystem cannot be frozen; it was written out instead";
        if (std::ranges::find(report_.notes, note) == report_.notes.end()) report_.notes.push_back(note);
    }
}

void HotDisk::look_at_rest(const std::function<ExtentSet()>& look) {
    const OpenFilesystems filesystems(options_.look_at_uses().mounts);
    filesystems.sync();
    tracker_->take();  // what was written until here is seen by whoever reads from here on
    const auto start = Clock::now();
    FrozenFilesystems frozen(filesystems, options_.freeze_deadline);
    to_freeze_ = Clock::now() - start;
    is_looking_ = true;
    const auto stop_looking = [this] { is_looking_ = false; };
    try {
        for (const Extent e : look())
            keep(e);
        tracker_->look(*this, {});
    } catch (...) {
        stop_looking();
        throw;
    }
    stop_looking();
    const bool was_in_time = frozen.thaw();
    report_.first_pause = Seconds(Clock::now() - start).count();
    note_not_frozen(frozen);
    if (!was_in_time)
        throw_error(
            Code::kRefused,
            "{}: looking at it takes longer than its filesystems may be frozen ({} s); a longer --max-pause "
            "allows more",
            name(), Seconds(options_.freeze_deadline).count());
    for (const auto& [offset, bytes] : looked_at_)
        tracker_->note(offset, bytes);
    at_rest_ = std::make_shared<const Kept>(std::exchange(looked_at_, {}));
    if (tracker_->compares() && shortest_pause() > options_.max_pause)
        refuse_a_long_pause(Code::kUnsupported, name(), shortest_pause(), options_.max_pause);
}

// What changed is not in it: of that rounds leave little.
HotDisk::Seconds HotDisk::shortest_pause() const {
    return to_freeze_ + tracker_->time_to_take();
}

// In whole pieces, each read once.
void HotDisk::keep(Extent extent) const {
    const std::uint64_t size = geometry().size_bytes;
    for (ByteOffset at = align_down(extent.begin, kKeptPiece); at < extent.end; at += kKeptPiece) {
        if (looked_at_.contains(at)) continue;
        if ((looked_at_.size() + 1) * kKeptPiece > kMostAtRest)
            throw_error(Code::kUnsupported, "{}: planning its copy needs more of it than can be kept ({})",
                        name(), format_size(kMostAtRest));
        Bytes bytes(std::min<std::uint64_t>(kKeptPiece, size - at));
        disk_.read_from_medium(at, bytes);
        looked_at_.emplace(at, std::move(bytes));
    }
}

// A partition that was swap and is no longer is followed from its beginning.
ExtentSet HotDisk::leave_out_swap(const DiskUses& uses, ExtentSet changed) {
    changed.insert(left_out_);
    ExtentSet followed = changed;
    followed.erase(uses.swap);
    left_out_ = std::move(changed);
    left_out_.erase(followed);
    return followed;
}

HotDisk::Seconds HotDisk::expected_pause(const DiskUses& uses) const {
    return shortest_pause() +
           Seconds(static_cast<double>(tracker_->pending_bytes(uses.swap)) / bytes_per_second_);
}

// Short enough is not as short as it can be: a round before the last one takes what was written until then.
bool HotDisk::is_worth_a_round(const DiskUses& uses) {
    const std::uint64_t pending = tracker_->pending_bytes(uses.swap);
    if (pending <= kFewBytes || shortening_rounds_ == kMostShorteningRounds) return false;
    const auto& before = report_.round_bytes;
    const bool gains = shortening_rounds_ == 0 || before.empty() || pending < before.back() / 2;
    if (gains) ++shortening_rounds_;
    return gains;
}

bool HotDisk::can_be_last(const DiskUses& uses) const {
    return expected_pause(uses) <= options_.max_pause && tracker_->pending_bytes(uses.swap) <= kMostHeld;
}

std::shared_ptr<const Changes> HotDisk::round(std::uint32_t number) {
    const std::lock_guard lock(mutex_);
    if (number == number_ && round_) return round_;
    if (number != number_ + 1 || (round_ && round_->is_last))
        throw_error(Code::kPeer, "round {} was asked for after round {}", number, number_);
    // What a round took and did not tell would be in no later one.
    if (failure_) std::rethrow_exception(failure_);
    at_rest_ = std::shared_ptr<const Kept>();
    try {
        round_ = next_round(number);
    } catch (...) {
        failure_ = std::current_exception();
        throw;
    }
    number_ = number;
    report_.round_bytes.push_back(round_->extents.total_bytes());
    return round_;
}

void HotDisk::give_up(std::uint32_t number, const DiskUses& uses) const {
    const std::uint64_t pending = tracker_->pending_bytes(uses.swap);
    if (to_freeze_ > options_.max_pause)
        throw_error(Code::kRefused,
                    "{}: freezing its filesystems alone takes {:.3f} s; --max-pause is {:.3f}", name(),
                    to_freeze_.count(), Seconds(options_.max_pause).count());
    throw_error(Code::kRefused,
                "{}: after {} rounds {} are still to be copied, and a pause of {:.3f} s is expected: it is "
                "written too "
                "fast for --max-pause {:.3f}",
                name(), number, format_size(pending), expected_pause(uses).count(),
                Seconds(options_.max_pause).count());
}

std::shared_ptr<const Changes> HotDisk::next_round(std::uint32_t number) {
    const DiskUses uses = options_.look_at_uses();
    if (!tracker_->is_through()) {
        ++continued_rounds_;
        return round_like_any_other(uses);
    }
    OpenFilesystems(uses.mounts).sync();
    const bool can_go_on = number - continued_rounds_ < options_.most_rounds;
    if (can_be_last(uses) && options_.wait_for_rest() && can_be_last(uses) &&
        !(can_go_on && is_worth_a_round(uses)))
        return last_round();
    if (!can_go_on || to_freeze_ > options_.max_pause) give_up(number, uses);
    if (tracker_->compares()) {
        // A disk that had much to do may have less at the next one.
        if (shortest_pause() > options_.max_pause && ++slow_rounds_ > kMostTries)
            refuse_a_long_pause(Code::kRefused, name(), shortest_pause(), options_.max_pause);
        look_again(uses);
    }
    return round_like_any_other(uses);
}

std::shared_ptr<Changes> HotDisk::round_like_any_other(const DiskUses& uses) {
    auto round = std::make_shared<Changes>();
    round->extents = leave_out_swap(uses, tracker_->take_some());
    return round;
}

// What came into use: bitmaps on the medium are right at rest only. If that ends too early the next round
// finds what this one does not.
void HotDisk::look_again(const DiskUses& uses) {
    const OpenFilesystems filesystems(uses.mounts);
    const auto start = Clock::now();
    FrozenFilesystems frozen(filesystems, options_.freeze_deadline);
    to_freeze_ = Clock::now() - start;
    tracker_->look(OnMedium(disk_), uses.swap);
    frozen.thaw();
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

AtRest HotDisk::take_frozen(const DiskUses& uses) {
    AtRest rest;
    tracker_->look(OnMedium(disk_), uses.swap);
    rest.extents = leave_out_swap(uses, tracker_->take());
    const auto begin = Clock::now();
    const std::uint64_t bytes = rest.extents.total_bytes();
    const bool has_room = bytes <= kMostHeld;
    if (has_room) rest.held = read_all(rest.extents);
    if (bytes > 16 * kMiB && has_room)
        bytes_per_second_ =
            static_cast<double>(bytes) / std::max(Seconds(Clock::now() - begin).count(), 1e-3);
    rest.is_moment = has_room && !tracker_->was_written(uses.swap);
    return rest;
}

// What it names is a round's in any case.
AtRest HotDisk::take_at_rest(const OpenFilesystems& filesystems) {
    const DiskUses uses = options_.look_at_uses();
    const auto start = Clock::now();
    FrozenFilesystems frozen(filesystems, options_.freeze_deadline);
    to_freeze_ = Clock::now() - start;
    AtRest rest = take_frozen(uses);
    const bool was_in_time = frozen.thaw();
    rest.pause = Seconds(Clock::now() - start).count();
    note_not_frozen(frozen);
    const DiskUses after = options_.look_at_uses();
    const bool is_the_same = filesystems_of(after) == filesystems_of(uses) && after.swap == uses.swap;
    rest.is_moment = rest.is_moment && was_in_time && is_the_same;
    return rest;
}

std::shared_ptr<const Changes> HotDisk::last_round() {
    if (++tries_ > kMostTries)
        throw_error(Code::kRefused,
                    "{}: it was not at rest {} times, though its filesystems were frozen: what writes to it "
                    "stands on no "
                    "filesystem, or on one that cannot be frozen, or the time does not suffice",
                    name(), kMostTries);
    auto round = std::make_shared<Changes>();
    if (options_.prepare) options_.prepare();
    try {
        // Who was prepared may have written a lot.
        const DiskUses uses = options_.look_at_uses();
        const OpenFilesystems filesystems(uses.mounts);
        filesystems.sync();
        if (can_be_last(uses)) {
            AtRest rest = options_.rest ? options_.rest() : take_at_rest(filesystems);
            round->extents = std::move(rest.extents);
            round->is_last = rest.is_moment;
            held_ = std::move(rest.held);
            report_.last_pause = rest.pause;
            report_.notes.insert(report_.notes.end(), rest.notes.begin(), rest.notes.end());
        } else {
            round = round_like_any_other(uses);
        }
    } catch (...) {
        if (options_.resume) options_.resume(false);
        throw;
    }
    if (!round->is_last) held_.clear();
    is_held_ = round->is_last;
    if (options_.resume) options_.resume(round->is_last);
    return round;
}

void HotDisk::read(ByteOffset offset, std::span<std::byte> buffer) const {
    if (is_looking_) {
        keep({offset, offset + buffer.size()});
        lay_over(looked_at_, offset, buffer);
        return;
    }
    if (is_held_) return read_from_medium(offset, buffer);
    const std::shared_ptr<const Kept> kept = at_rest_;
    if (!kept) return read_and_note(offset, buffer, {});
    read_and_note(offset, buffer, *kept);
}

void HotDisk::read_from_medium(ByteOffset offset, std::span<std::byte> buffer) const {
    if (!is_held_) return read_and_note(offset, buffer, {});
    if (lay_over(held_, offset, buffer) != buffer.size())
        throw_error(Code::kRefused, "{}: {} is not of the last round, and the disk has gone on", name(),
                    Extent{offset, offset + buffer.size()}.text());
}

// Who compares is told of whole pieces: what lies beside the bytes that are given away is of the same moment
// then.
void HotDisk::read_and_note(ByteOffset offset, std::span<std::byte> buffer, const Kept& over) const {
    const auto read = [&](ByteOffset at, std::span<std::byte> bytes) {
        disk_.read_from_medium(at, bytes);
        lay_over(over, at, bytes);
    };
    if (!tracker_->compares()) return read(offset, buffer);
    const Extent asked{offset, offset + buffer.size()};
    const Extent pieces{align_down(asked.begin, kKeptPiece),
                        std::min(align_up(asked.end, kKeptPiece), geometry().size_bytes)};
    if (pieces == asked) {
        read(offset, buffer);
        return tracker_->note(offset, buffer);
    }
    AlignedBuffer bytes(pieces.size());
    read(pieces.begin, bytes.all());
    tracker_->note(pieces.begin, bytes.all());
    copy_bytes(bytes.all().subspan(asked.begin - pieces.begin, asked.size()), buffer);
}

HotReport HotDisk::report() const {
    const std::lock_guard lock(mutex_);
    return report_;
}

}  // namespace dupengine::machine
