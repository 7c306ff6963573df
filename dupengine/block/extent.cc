#include "block/extent.h"

#include <algorithm>

namespace dupengine::block {

Extent Extent::clipped_to(Extent other) const {
    const Extent both{std::max(begin, other.begin), std::min(end, other.end)};
    return both.empty() ? Extent{} : both;
}

std::string Extent::text() const {
    return fmt::format("[{}, {})", begin, end);
}

ExtentSet::ExtentSet(std::initializer_list<Extent> extents) {
    for (Extent e : extents)
        insert(e);
}

std::vector<Extent>::const_iterator ExtentSet::first_ending_after(ByteOffset at) const {
    return std::lower_bound(extents_.begin(), extents_.end(), at,
                            [](const Extent& e, ByteOffset value) { return e.end <= value; });
}

void ExtentSet::insert(Extent extent) {
    if (extent.empty()) return;
    if (extents_.empty() || extents_.back().end < extent.begin) {
        extents_.push_back(extent);
        return;
    }
    // The run of extents that overlap or touch the new one becomes one.
    const auto first = std::lower_bound(extents_.begin(), extents_.end(), extent.begin,
                                        [](const Extent& e, ByteOffset value) { return e.end < value; });
    auto last = first;
    while (last != extents_.end() && last->begin <= extent.end) {
        extent.begin = std::min(extent.begin, last->begin);
        extent.end = std::max(extent.end, last->end);
        ++last;
    }
    if (first == last) {
        extents_.insert(first, extent);
    } else {
        *first = extent;
        extents_.erase(first + 1, last);
    }
}

void ExtentSet::insert(const ExtentSet& other) {
    // Few are put in one by one; of many each would move those behind it.
    constexpr std::size_t kFew = 16;
    if (other.extents_.size() <= kFew || extents_.empty() ||
        extents_.back().end <= other.extents_.front().begin) {
        for (Extent e : other)
            insert(e);
        return;
    }
    std::vector<Extent> both;
    both.reserve(extents_.size() + other.extents_.size());
    std::merge(extents_.begin(), extents_.end(), other.extents_.begin(), other.extents_.end(),
               std::back_inserter(both), [](Extent a, Extent b) { return a.begin < b.begin; });
    extents_.clear();
    for (Extent e : both)
        insert(e);
}

void ExtentSet::erase(Extent extent) {
    if (extent.empty()) return;
    const auto first = extents_.begin() + (first_ending_after(extent.begin) - extents_.cbegin());
    auto last = first;
    std::vector<Extent> rest;
    while (last != extents_.end() && last->begin < extent.end) {
        if (last->begin < extent.begin) rest.push_back({last->begin, extent.begin});
        if (last->end > extent.end) rest.push_back({extent.end, last->end});
        ++last;
    }
    const auto at = extents_.erase(first, last);
    extents_.insert(at, rest.begin(), rest.end());
}

void ExtentSet::erase(const ExtentSet& other) {
    ExtentSet result;
    auto cut = other.begin();
    for (Extent e : extents_) {
        while (cut != other.end() && cut->end <= e.begin)
            ++cut;
        ByteOffset at = e.begin;
        for (auto c = cut; c != other.end() && c->begin < e.end; ++c) {
            result.insert({at, std::max(at, c->begin)});
            at = std::max(at, c->end);
        }
        result.insert({at, e.end});
    }
    extents_ = std::move(result.extents_);
}

std::uint64_t ExtentSet::total_bytes() const {
    std::uint64_t total = 0;
    for (Extent e : extents_)
        total += e.size();
    return total;
}

bool ExtentSet::contains(Extent extent) const {
    if (extent.empty()) return true;
    const auto at = first_ending_after(extent.begin);
    return at != extents_.end() && at->contains(extent);
}

Extent ExtentSet::first_in(Extent within) const {
    if (within.empty()) return {};
    const auto at = first_ending_after(within.begin);
    return at == extents_.end() ? Extent{} : at->clipped_to(within);
}

bool ExtentSet::touches(Extent extent) const {
    if (extent.empty()) return false;
    const auto at = first_ending_after(extent.begin);
    return at != extents_.end() && at->begin < extent.end;
}

ExtentSet ExtentSet::clipped_to(Extent within) const {
    ExtentSet result;
    for (auto at = first_ending_after(within.begin); at != extents_.end() && at->begin < within.end; ++at)
        result.insert(at->clipped_to(within));
    return result;
}

ExtentSet ExtentSet::gaps_in(Extent within) const {
    ExtentSet result;
    ByteOffset at = within.begin;
    for (auto e = first_ending_after(within.begin); e != extents_.end() && e->begin < within.end; ++e) {
        result.insert({at, std::max(at, e->begin)});
        at = std::max(at, e->end);
    }
    result.insert({at, std::max(at, within.end)});
    return result;
}

ExtentSet ExtentSet::shifted(std::uint64_t distance) const {
    ExtentSet result;
    for (Extent e : extents_)
        result.insert({e.begin + distance, checked_add(e.end, distance, "extent")});
    return result;
}

ExtentSet ExtentSet::aligned_outwards(std::uint64_t unit, ByteOffset limit) const {
    ExtentSet result;
    for (Extent e : extents_)
        result.insert(
            Extent{align_down(e.begin, unit), std::max(align_up(e.end, unit), e.end)}.clipped_to({0, limit}));
    return result;
}

ExtentSet ExtentSet::bridged(std::uint64_t gap_bytes) const {
    ExtentSet result;
    for (Extent e : extents_) {
        if (!result.extents_.empty() && e.begin - result.extents_.back().end < gap_bytes)
            result.extents_.back().end = e.end;
        else
            result.extents_.push_back(e);
    }
    return result;
}

}  // namespace dupengine::block
