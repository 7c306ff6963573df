#include "machine/digest_tracker.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <future>
#include <thread>

#include "base/aligned_buffer.h"
#include "base/units.h"
#include "block/changes.h"
#include "block/disk_row.h"
#include "layout/describe.h"
#include "machine/whole_disk.h"

namespace dupengine::machine {
namespace {

using block::Extent;
using block::ExtentSet;
using Clock = std::chrono::steady_clock;
using Seconds = ChangeTracker::Seconds;

constexpr std::uint64_t kMostMemory = 1024 * kMiB;
constexpr std::uint64_t kReadAtOnce = kMiB;
constexpr unsigned kMostReaders = 4;  // a disk has enough to do, and digests have more than one processor
constexpr std::uint64_t kSample = 64 * kMiB;

static_assert(ChangeTracker::kNotedPiece == SentTags::kPiece);
static_assert(block::kRowAlignment % SentTags::kPiece == 0, "a piece would belong to two disks");

double seconds_since(Clock::time_point start) {
    return Seconds(Clock::now() - start).count();
}

std::vector<Extent> split(const ExtentSet& extents) {
    std::vector<Extent> parts;
    for (const Extent e : extents)
        for (ByteOffset at = e.begin; at < e.end; at += kReadAtOnce)
            parts.push_back({at, std::min(at + kReadAtOnce, e.end)});
    return parts;
}

struct InUse {
    ExtentSet used, tables;
};

// Of all disks together: a volume group may lie on several.
InUse look_at_all(const block::Reader& row, const std::vector<FollowedDisk>& disks) {
    std::vector<std::unique_ptr<block::DiskOfRow>> each;
    std::vector<const block::Reader*> readers;
    for (const FollowedDisk& disk : disks) {
        block::RowPlace place{disk.path, row.geometry(), disk.begin};
        place.geometry.size_bytes = disk.size_bytes;
        if (disk.sector_bytes != 0) place.geometry.logical_sector_bytes = disk.sector_bytes;
        each.push_back(std::make_unique<block::DiskOfRow>(row, place));
        readers.push_back(each.back().get());
    }
    InUse found;
    const auto described = layout::describe_disks(readers, layout::Depth::kUsedExtents);
    for (std::size_t i = 0; i < disks.size(); ++i) {
        const layout::DiskDescription& disk = described[i];
        found.used.insert(disk.used.used.shifted(disks[i].begin));
        for (const layout::PartitionDescription& part : disk.partitions)
            found.used.insert(part.used.used.shifted(disks[i].begin + part.partition.extent.begin));
        found.tables.insert(
            layout::table_extents(disk.table, disk.geometry.size_bytes).shifted(disks[i].begin));
    }
    return found;
}

}  // namespace

void refuse_a_long_pause(Code code, const std::string& disk, Seconds expected, Seconds most) {
    const double seconds = expected.count();
    const std::string longer = 2 * expected <= kLongestReadingPause
                                   ? fmt::format("--max-pause {:.0f}; ", std::ceil(2 * seconds))
                                   : "";
    throw_error(
        code,
        "{}: what was written can only be found by reading again, in the pause, all that is in use; "
        "{:.2g} s are expected for that, and {:.2g} may be (--max-pause; {} at most). What works: {}a "
        "kernel that takes BPF programs (dupengine doctor); or to stop what uses it and copy it",
        disk, seconds, most.count(), kLongestReadingPause.count(), longer);
}

DigestTracker::DigestTracker(const block::Reader& row, const std::vector<FollowedDisk>& disks,
                             RandomSource& random, std::chrono::milliseconds a_while)
    : row_(row), disks_(disks), a_while_(a_while), tags_(row.geometry().size_bytes, kMostMemory) {
    random.fill(key_);
    for (const FollowedDisk& disk : disks)
        counts_.emplace_back(disk.path, folder_of_disk(whole_disk_number(disk.path)));
}

void DigestTracker::note(ByteOffset offset, std::span<const std::byte> bytes) {
    codec::KeyedDigest digest(key_);
    tags_.note(offset, bytes, digest);
}

void DigestTracker::look(const block::Reader& disk, const ExtentSet& without) {
    const auto start = Clock::now();
    for (std::size_t i = 0; i < disks_.size(); ++i) {
        const Extent place{disks_[i].begin, disks_[i].begin + disks_[i].size_bytes};
        ExtentSet swap;
        for (const Extent e : without.clipped_to(place))
            swap.insert({e.begin - place.begin, e.end - place.begin});
        counts_[i].begin(swap);
    }
    InUse found = look_at_all(disk, disks_);
    used_ = std::move(found.used);
    seconds_to_look_ = seconds_since(start);
    if (std::exchange(was_looked_at_, true)) return;
    // The copy is planned from the same moment by the same rules.
    given_ = used_;
    tags_.divide_finely(found.tables);
    named_ = used_.total_bytes();
    if (SentTags::memory_for(named_) > kMostMemory)
        throw_error(Code::kUnsupported,
                    "{}: {} are in use, and their digests need more than {} of memory; let this kernel take "
                    "BPF programs (dupengine doctor), or stop what uses it and copy it",
                    row_.name(), format_size(named_), format_size(kMostMemory));
}

ExtentSet DigestTracker::to_be_read() const {
    const std::uint64_t size = row_.geometry().size_bytes;
    ExtentSet all = used_.aligned_outwards(SentTags::kPiece, size);
    all.insert(tags_.noted());
    return all;
}

// Several readers, each with its part: what the disk is slow with and what the processor is overlap.
ExtentSet DigestTracker::read_parts(const std::vector<Extent>& parts, std::size_t& next,
                                    const Comparison& compare, Clock::time_point until) const {
    std::atomic<std::size_t> taken = next;
    const auto work = [&] {
        codec::KeyedDigest digest(key_);
        AlignedBuffer buffer(kReadAtOnce);
        ExtentSet different;
        for (std::size_t i = taken++; i < parts.size(); i = taken++) {
            const auto bytes = buffer.first(parts[i].size());
            row_.read_from_medium(parts[i].begin, bytes);
            different.insert(compare(parts[i].begin, bytes, digest));
            if (Clock::now() >= until) break;
        }
        return different;
    };
    std::vector<std::future<ExtentSet>> readers;
    for (unsigned i = 0; i < std::clamp(std::thread::hardware_concurrency(), 1u, kMostReaders); ++i)
        readers.push_back(std::async(std::launch::async, work));
    ExtentSet different;
    for (auto& reader : readers)
        different.insert(reader.get());
    next = std::min(taken.load(), parts.size());
    return different;
}

void DigestTracker::begin_pass() {
    // What came into use without being written has to travel, though its piece holds what it held.
    ExtentSet came = used_;
    came.erase(given_);
    tags_.forget(came);
    const ExtentSet all = to_be_read();
    parts_ = split(all);
    next_ = 0;
    pass_bytes_ = all.total_bytes();
    pass_named_ = 0;
    pass_seconds_ = 0;
}

ExtentSet DigestTracker::go_on(Clock::time_point until) {
    const auto start = Clock::now();
    const ExtentSet different = read_parts(
        parts_, next_,
        [this](ByteOffset offset, std::span<const std::byte> bytes, codec::KeyedDigest& digest) {
            return tags_.take_different(offset, bytes, digest, used_);
        },
        until);
    given_.insert(different);
    pass_seconds_ += seconds_since(start);
    pass_named_ += different.total_bytes();
    if (is_through()) {
        named_ = pass_named_;
        if (pass_bytes_ >= kSample)
            bytes_per_second_ = static_cast<double>(pass_bytes_) / std::max(pass_seconds_, 1e-3);
    }
    return in_few_extents(different);
}

ExtentSet DigestTracker::take() {
    begin_pass();
    return go_on(Clock::time_point::max());
}

ExtentSet DigestTracker::take_some() {
    if (is_through()) begin_pass();
    return go_on(Clock::now() + a_while_);
}

// What lies between two disks belongs to none.
ExtentSet DigestTracker::in_few_extents(const ExtentSet& extents) const {
    ExtentSet all;
    for (const FollowedDisk& disk : disks_) {
        ExtentSet on_it = extents.clipped_to({disk.begin, disk.begin + disk.size_bytes});
        for (std::uint64_t gap = 4 * SentTags::kPiece; on_it.count() > block::kMostChanges / disks_.size();
             gap *= 4)
            on_it = on_it.bridged(gap);
        all.insert(on_it);
    }
    return all;
}

// Nobody knows before it is read: about what the last one named.
std::uint64_t DigestTracker::pending_bytes(const ExtentSet&) const {
    return named_;
}

bool DigestTracker::was_written(const ExtentSet&) const {
    return std::ranges::any_of(counts_, [](const WriteCounts& counts) { return counts.has_moved(); });
}

Seconds DigestTracker::time_to_take() {
    const ExtentSet all = to_be_read();
    if (bytes_per_second_ == 0 && !all.empty()) measure(all);
    return Seconds(seconds_to_look_ +
                   static_cast<double>(all.total_bytes()) / std::max(bytes_per_second_, 1.0));
}

// A sample, from all over it.
void DigestTracker::measure(const ExtentSet& all) {
    const std::vector<Extent> parts = split(all);
    std::vector<Extent> sample;
    const std::size_t step = std::max<std::size_t>(1, parts.size() / (kSample / kReadAtOnce));
    std::uint64_t bytes = 0;
    for (std::size_t i = 0; i < parts.size(); i += step) {
        sample.push_back(parts[i]);
        bytes += parts[i].size();
    }
    const auto start = Clock::now();
    std::size_t next = 0;
    read_parts(
        sample, next,
        [](ByteOffset, std::span<const std::byte> read, codec::KeyedDigest& digest) {
            digest.of(read);
            return ExtentSet();
        },
        Clock::time_point::max());
    bytes_per_second_ = static_cast<double>(bytes) / std::max(seconds_since(start), 1e-6);
}

std::string DigestTracker::remark() {
    const std::uint64_t bytes = to_be_read().total_bytes();
    return fmt::format(
        "what was written is found by comparing digests ({} of memory): all that is in use ({}) is read "
        "again "
        "in each round, and in the pause, which takes {:.1f} s by that",
        format_size(SentTags::memory_for(bytes)), format_size(bytes), time_to_take().count());
}

}  // namespace dupengine::machine
