#include "engine/refit/shrink_layout.h"

#include <algorithm>
#include <numeric>

namespace dupengine::engine {
namespace {

using block::Extent;
using Sizes = std::vector<std::uint64_t>;

// The last extent of this size that begins at `begin` or before it, ends at `end` or before it, and has no
// obstacle in it.
std::optional<Extent> last_place(const Room& room, ByteOffset begin, ByteOffset end, std::uint64_t size) {
    for (;;) {
        if (end < size) return std::nullopt;
        if (begin > end - size) begin = align_down(end - size, room.alignment);
        const Extent place{begin, begin + size};
        if (begin < room.usable.begin) return std::nullopt;
        if (!room.obstacles.touches(place)) return place;
        end = room.obstacles.clipped_to(place).begin()->begin;
    }
}

Sizes full_sizes(const std::vector<Place>& places) {
    Sizes sizes;
    for (const Place& place : places)
        sizes.push_back(place.extent.size());
    return sizes;
}

Sizes least_sizes(const std::vector<Place>& places) {
    Sizes sizes;
    for (const Place& place : places)
        sizes.push_back(std::min(place.least_bytes, place.extent.size()));
    return sizes;
}

// `given` of kWhole parts of what each of the chosen ones can give, in whole units.
constexpr std::uint64_t kWhole = 1 << 20;

Sizes sizes_after_giving(const std::vector<Place>& places, const std::vector<std::size_t>& chosen,
                         std::uint64_t given, std::uint64_t unit) {
    Sizes sizes = full_sizes(places);
    for (const std::size_t i : chosen) {
        const std::uint64_t least = std::min(places[i].least_bytes, sizes[i]), spare = sizes[i] - least;
        const std::uint64_t part = spare / kWhole * given + spare % kWhole * given / kWhole;
        sizes[i] = std::min(sizes[i], align_up(sizes[i] - part, unit));
    }
    return sizes;
}

// Those that can give something, most first.
std::vector<std::size_t> by_spare(const std::vector<Place>& places) {
    const auto spare = [&](std::size_t i) {
        return places[i].extent.size() - std::min(places[i].least_bytes, places[i].extent.size());
    };
    std::vector<std::size_t> order(places.size());
    std::iota(order.begin(), order.end(), std::size_t{0});
    std::erase_if(order, [&](std::size_t i) { return spare(i) == 0; });
    std::stable_sort(order.begin(), order.end(), [&](auto a, auto b) { return spare(a) > spare(b); });
    return order;
}

// What became smaller in vain (it lies in front of something that cannot move) gets its size back.
void give_back_what_did_not_help(const std::vector<Place>& places, const Room& room, Sizes& sizes) {
    for (std::size_t i = 0; i < places.size(); ++i) {
        const std::uint64_t size = sizes[i];
        sizes[i] = places[i].extent.size();
        if (size != sizes[i] && !lay_out(places, room, sizes)) sizes[i] = size;
    }
}

}  // namespace

std::optional<std::vector<Extent>> lay_out(const std::vector<Place>& places, const Room& room,
                                           const Sizes& sizes) {
    std::vector<Extent> laid(places.size());
    ByteOffset end = room.usable.end;
    for (std::size_t i = places.size(); i-- > 0;) {
        const auto place = last_place(room, places[i].extent.begin, end, sizes[i]);
        if (!place || (!places[i].movable && place->begin != places[i].extent.begin)) return std::nullopt;
        laid[i] = *place;
        end = place->begin;
    }
    return laid;
}

std::optional<std::vector<Extent>> fit_places(const std::vector<Place>& places, const Room& room) {
    if (auto as_they_are = lay_out(places, room, full_sizes(places))) return as_they_are;
    const std::vector<std::size_t> order = by_spare(places);
    std::vector<std::size_t> chosen;
    const auto fits = [&](std::uint64_t given) {
        return lay_out(places, room, sizes_after_giving(places, chosen, given, room.alignment)).has_value();
    };
    for (const std::size_t i : order) {
        chosen.push_back(i);
        if (fits(kWhole)) break;
    }
    if (chosen.empty() || !fits(kWhole)) return std::nullopt;
    std::uint64_t too_little = 0, enough = kWhole;
    while (enough - too_little > 1) {
        const std::uint64_t middle = too_little + (enough - too_little) / 2;
        (fits(middle) ? enough : too_little) = middle;
    }
    Sizes sizes = sizes_after_giving(places, chosen, enough, room.alignment);
    give_back_what_did_not_help(places, room, sizes);
    return lay_out(places, room, sizes);
}

std::optional<ByteOffset> least_end(const std::vector<Place>& places, const Room& room) {
    if (places.empty()) return room.usable.begin;
    Sizes sizes = least_sizes(places);
    for (std::size_t i = 0; i < sizes.size(); ++i)
        sizes[i] = std::min(align_up(sizes[i], room.alignment), places[i].extent.size());
    Room larger = room;
    const auto fits = [&](ByteOffset end) {
        larger.usable.end = end;
        return lay_out(places, larger, sizes).has_value();
    };
    ByteOffset too_small = room.usable.begin, enough = places.back().extent.end;
    if (!fits(enough)) return std::nullopt;
    while (enough - too_small > 1) {
        const ByteOffset middle = too_small + (enough - too_small) / 2;
        (fits(middle) ? enough : too_small) = middle;
    }
    return enough;
}

}  // namespace dupengine::engine
