#include "engine/compare.h"

#include <algorithm>
#include <cstring>
#include <mutex>

#include "engine/chunk_bytes.h"
#include "engine/pipeline.h"

namespace dupengine::engine {
namespace {

using block::Extent;
using block::ExtentSet;
using From = block::Reader::From;

constexpr std::uint64_t kPage = 4 * kKiB;

// What differs, from several workers, in bounded memory: past the limit what lies close is taken together.
class Differences {
  public:
    void add(const std::vector<Extent>& found) {
        const std::lock_guard lock(mutex_);
        for (Extent e : found)
            set_.insert(e);
        while (set_.count() > kLimit)
            set_ = set_.bridged(gap_ *= 2);
    }
    ExtentSet take() { return std::move(set_); }

  private:
    static constexpr std::size_t kLimit = std::size_t{1} << 18;
    std::mutex mutex_;
    ExtentSet set_;
    std::uint64_t gap_ = kPage;
};

template <typename Differs>
std::vector<Extent> pages_that(Extent extent, Differs&& differs) {
    std::vector<Extent> found;
    if (!differs(extent)) return found;
    for (ByteOffset at = extent.begin; at < extent.end;) {
        const Extent page{at, std::min(align_down(at, kPage) + kPage, extent.end)};
        if (differs(page)) found.push_back(page);
        at = page.end;
    }
    return found;
}

ExtentSet compare_data(const CopyPlan& plan, const block::Reader& source, const block::Reader& target,
                       PipelineOptions options, Progress& progress, std::stop_token stop) {
    options.lanes.areas = 2;
    Differences differences;
    ChunkWork work;
    work.read = [&](Slot& slot) {
        start_reads(slot, source, From::kMedium, options.bridge_bytes, 0);
        start_reads(slot, target, From::kMedium, options.bridge_bytes, 1);
    };
    work.look = [&](Slot& slot) {
        for (Extent e : slot.chunk.extents)
            differences.add(pages_that(e, [&](Extent part) {
                return std::memcmp(slot.bytes_of(part, 0).data(), slot.bytes_of(part, 1).data(),
                                   part.size()) != 0;
            }));
    };
    work.end = [&](Slot& slot) { progress.advance(size_of(slot.chunk)); };
    for_each_chunk(plan.data, options.lanes, stop, work);
    return differences.take();
}

ExtentSet find_not_zero(const ExtentSet& to_read, const block::Reader& target, const PipelineOptions& options,
                        Progress& progress, std::stop_token stop) {
    Differences differences;
    ChunkWork work;
    work.read = [&](Slot& slot) { start_reads(slot, target, From::kMedium, options.bridge_bytes); };
    work.look = [&](Slot& slot) {
        for (Extent e : slot.chunk.extents)
            differences.add(pages_that(e, [&](Extent part) { return !is_zero(slot.bytes_of(part)); }));
    };
    work.end = [&](Slot& slot) { progress.advance(size_of(slot.chunk)); };
    for_each_chunk(to_read, options.lanes, stop, work);
    return differences.take();
}

std::vector<std::string> different_structures(const CopyPlan& plan, const block::Reader& target,
                                              Comparison& comparison) {
    std::vector<std::string> different;
    for (const BootStage& stage : plan.boot) {
        bool same = true;
        for (const auto& piece : stage.pieces) {
            Bytes there(piece.content.size());
            target.read_from_medium(piece.offset, there);
            comparison.bytes_compared += there.size();
            if (there != piece.content) {
                same = false;
                comparison.bytes_different += there.size();
            }
        }
        if (!same) different.push_back(stage.name);
    }
    return different;
}

}  // namespace

Comparison compare_with_plan(const CopyPlan& plan, const block::Reader& source, const block::Reader& target,
                             Progress& progress, std::stop_token stop) {
    PipelineOptions options = choose_pipeline(source.geometry(), target.geometry(), plan.data.total_bytes());
    const ExtentSet zero_used = zeros_to_read(target, plan.zero_used, options);
    options.sample_zeros = plan.options.verify == Verify::kUsed;
    ExtentSet unused = plan.zero;
    unused.erase(plan.zero_used);
    unused = zeros_to_read(target, unused, options);
    progress.begin("compare", plan.data.total_bytes() + zero_used.total_bytes() + unused.total_bytes());
    Comparison comparison;
    ExtentSet different = compare_data(plan, source, target, options, progress, stop);
    different.insert(find_not_zero(zero_used, target, options, progress, stop));
    comparison.not_zero = find_not_zero(unused, target, options, progress, stop);
    comparison.bytes_compared = plan.data.total_bytes() + zero_used.total_bytes() + unused.total_bytes();
    comparison.bytes_different = different.total_bytes() + comparison.not_zero.total_bytes();
    comparison.boot_structures = different_structures(plan, target, comparison);
    comparison.partitions = sort_by_partition(plan.source, source, std::move(different));
    return comparison;
}

}  // namespace dupengine::engine
