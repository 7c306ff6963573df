#include "layout/storage_lineage.h"

#include <algorithm>

namespace dupengine::layout {
namespace {

using block::Extent;

Extent moved(Extent range, Extent into) {
    return Extent{checked_add(into.begin, range.begin, "place on a disk"),
                  checked_add(into.begin, range.end, "place on a disk")}
        .clipped_to(into);
}

}  // namespace

std::vector<Place> lineage(const block::PathIdentity& what, const BlockGraph& graph, Mapped mapped) {
    std::vector<Place> places;
    const auto add = [&](const Place& place) {
        const bool known = std::any_of(places.begin(), places.end(),
                                       [&](const Place& other) { return other.where == place.where; });
        if (!known) places.push_back(place);
    };
    add({what, what.is_block_device ? Extent{0, graph.extent_on_disk(what.device_number).size()} : kAllBytes,
         false});
    for (std::size_t i = 0; i < places.size(); ++i) {
        const Place place = places[i];
        if (!place.where.is_block_device)
            continue;  // a file lies on a filesystem: whose blocks, only that one knows
        const DeviceNumber device = place.where.device_number;
        if (const auto disk = graph.whole_disk(device)) {
            add({{true, *disk, 0}, moved(place.range, graph.extent_on_disk(device)), place.partial});
        } else if (const LoopBinding* loop = graph.loop(device)) {
            if (loop->backing) add({*loop->backing, moved(place.range, loop->range), place.partial});
        } else if (mapped == Mapped::kFollow) {
            for (DeviceNumber slave : graph.slaves(device))
                add({{true, slave, 0}, kAllBytes, true});
        }
    }
    return places;
}

}  // namespace dupengine::layout
