#include "wire/data_map.h"

#include <algorithm>

namespace dupengine::wire {

using block::Extent;

// Workers are in two or three places at once.
constexpr std::size_t kMostStretches = 8;

const DataMap::Stretch& DataMap::stretch_at(ByteOffset at) {
    const auto known =
        std::ranges::find_if(stretches_, [&](const Stretch& stretch) { return stretch.known.contains(at); });
    if (known != stretches_.end()) return *known;
    const Extent rest{at, link_.opened().geometry.size_bytes};
    const Bytes payload = link_.wait(link_.ask(Type::kMap, encode_extents({&rest, 1})), Type::kMapped);
    Mapped mapped = decode_mapped(payload);
    if (mapped.known_to <= at || mapped.known_to > rest.end ||
        (!mapped.data.empty() && mapped.data.front().begin < at))
        throw_not_honest("a map of something else");
    stretches_.push_front({{at, mapped.known_to}, std::move(mapped.data)});
    if (stretches_.size() > kMostStretches) stretches_.pop_back();
    return stretches_.front();
}

Extent DataMap::next_data(Extent within) {
    const std::lock_guard lock(mutex_);
    while (!within.empty()) {
        const Stretch& stretch = stretch_at(within.begin);
        const auto first = std::ranges::upper_bound(stretch.data, within.begin, {}, &Extent::end);
        if (first != stretch.data.end())
            return first->begin < within.end ? first->clipped_to(within) : Extent{};
        within.begin = stretch.known.end;
    }
    return {};
}

}  // namespace dupengine::wire
