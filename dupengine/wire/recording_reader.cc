#include "wire/recording_reader.h"

#include <algorithm>
#include <deque>
#include <mutex>

#include "layout/describe.h"

namespace dupengine::wire {
namespace {

using block::Extent;

constexpr std::uint64_t kPage = 4 * kKiB;
// Where tables, marks and first superblocks stand.
constexpr std::uint64_t kEnds = 256 * kKiB;

// No descriptor: libraries would read past us.
class RecordingReader final : public block::Reader {
  public:
    explicit RecordingReader(const block::Reader& disk) : disk_(disk) {}
    const block::Geometry& geometry() const override { return disk_.geometry(); }
    const std::string& name() const override { return disk_.name(); }
    void read(ByteOffset offset, std::span<std::byte> buffer) const override {
        disk_.read(offset, buffer);
        note({offset, offset + buffer.size()});
    }
    void read_from_medium(ByteOffset offset, std::span<std::byte> buffer) const override {
        disk_.read_from_medium(offset, buffer);
        note({offset, offset + buffer.size()});
    }
    Extent next_data(Extent within) const override { return disk_.next_data(within); }

    std::optional<std::string> known_signature(Extent part) const override {
        std::string found = layout::encode_signature(layout::probe_signature(disk_, part));
        const std::lock_guard lock(mutex_);
        known_.push_back({part, found});
        return found;
    }

    void note(Extent read) const {
        const std::lock_guard lock(mutex_);
        const std::uint64_t size = disk_.geometry().size_bytes;
        ranges_.insert({align_down(read.begin, kPage), std::min(align_up(read.end, kPage), size)});
        // Scattered reads of a large, aged disk: neighbours together, so that the list stays short.
        while (ranges_.count() > kMostRanges)
            ranges_ = ranges_.bridged(gap_ *= 2);
    }
    Preparation take() { return {std::move(ranges_), std::move(known_)}; }

  private:
    static constexpr std::size_t kMostRanges = 16384;
    const block::Reader& disk_;
    mutable std::mutex mutex_;
    mutable block::ExtentSet ranges_;
    mutable std::vector<Known> known_;
    mutable std::uint64_t gap_ = kPage;
};

std::vector<Extent> extents_of(const std::vector<block::RowPlace>& row) {
    std::vector<Extent> extents;
    for (const block::RowPlace& place : row)
        extents.push_back(place.extent());
    return extents;
}

}  // namespace

Preparation prepare_to_describe(const block::Reader& disk, const std::vector<block::RowPlace>& row) {
    RecordingReader recorder(disk);
    std::deque<block::DiskOfRow> disks;
    std::vector<const block::Reader*> together;
    for (const block::RowPlace& place : row)
        together.push_back(&disks.emplace_back(recorder, place));
    if (row.empty()) together.push_back(&recorder);
    for (const Extent whole :
         row.empty() ? std::vector<Extent>{{0, disk.geometry().size_bytes}} : extents_of(row)) {
        const std::uint64_t ends = std::min(kEnds, whole.size());
        recorder.note({whole.begin, whole.begin + ends});
        recorder.note({whole.end - ends, whole.end});
    }
    try {
        layout::describe_disks(together, layout::Depth::kSalvage);
    } catch (const Error&) {
        // Said in the right words by whoever plans with it.
    }
    return recorder.take();
}

std::shared_ptr<const Preparation> KeptPreparation::get(const block::Reader& disk, Lasting lasting,
                                                        const std::vector<block::RowPlace>& row) {
    using namespace std::chrono_literals;
    const std::lock_guard lock(mutex_);
    const bool is_old = lasting == Lasting::kForSeconds && std::chrono::steady_clock::now() - made_at_ > 10s;
    if (made_ == nullptr || is_old) {
        made_ = std::make_shared<const Preparation>(prepare_to_describe(disk, row));
        made_at_ = std::chrono::steady_clock::now();
    }
    return made_;
}

}  // namespace dupengine::wire
