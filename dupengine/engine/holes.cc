// What a raw image file does not even store need not be copied: its large holes become ranges to zero. Small
// ones are found by the pipeline, which keeps transfers long.

#include <algorithm>

#include "engine/plan.h"

namespace dupengine::engine {

using block::Extent;
using block::ExtentSet;

void skip_holes(CopyPlan& plan, const block::Reader& source) {
    constexpr std::uint64_t kSmallest = kMiB;
    const std::uint64_t size = source.geometry().size_bytes;
    ExtentSet holes;
    for (Extent e : plan.data) {
        for (ByteOffset at = e.begin; at < e.end;) {
            const Extent data = at < size ? source.next_data({at, std::min(e.end, size)}) : Extent{};
            const Extent hole{align_up(at, kMiB), align_down(data.empty() ? e.end : data.begin, kMiB)};
            if (hole.begin < hole.end && hole.size() >= kSmallest) holes.insert(hole);
            at = data.empty() ? e.end : data.end;
        }
    }
    plan.data.erase(holes);
    plan.zero.insert(holes);
    plan.zero_used = std::move(holes);
}

}  // namespace dupengine::engine
