// The bytes at both ends of the target that make it a bootable, recognisable disk. They are put together here
// and written last (apply.cc). For a source without a table they are simply the source's first and last
// bytes.

#include <algorithm>
#include <iterator>

#include "engine/plan.h"

namespace dupengine::engine {
namespace {

using block::Extent;
using block::ExtentSet;
using Piece = layout::TableImage::Piece;

// The source's bytes in `range` as far as the plan copies them; zeros elsewhere.
Piece bytes_for(const block::Reader& source, const ExtentSet& data, Extent range) {
    Piece piece{range.begin, Bytes(range.size())};
    for (Extent e : data.clipped_to(range.clipped_to({0, source.geometry().size_bytes})))
        source.read(e.begin, std::span(piece.content).subspan(e.begin - range.begin, e.size()));
    return piece;
}

// Lays `over` onto the pieces that it overlaps. Returns what of it lies outside them.
std::vector<Piece> lay_over(std::vector<Piece>& pieces, const Piece& over) {
    const Extent place{over.offset, over.offset + over.content.size()};
    ExtentSet outside{place};
    for (Piece& piece : pieces) {
        const Extent own{piece.offset, piece.offset + piece.content.size()};
        const Extent both = own.clipped_to(place);
        if (both.empty()) continue;
        std::copy_n(over.content.begin() + static_cast<std::ptrdiff_t>(both.begin - place.begin), both.size(),
                    piece.content.begin() + static_cast<std::ptrdiff_t>(both.begin - own.begin));
        outside.erase(both);
    }
    std::vector<Piece> rest;
    for (Extent e : outside) {
        const auto from = over.content.begin() + static_cast<std::ptrdiff_t>(e.begin - place.begin);
        rest.push_back({e.begin, Bytes(from, from + static_cast<std::ptrdiff_t>(e.size()))});
    }
    return rest;
}

// The same, and what lies outside becomes a piece of its own.
void add_over(std::vector<Piece>& pieces, const Piece& over) {
    std::vector<Piece> rest = lay_over(pieces, over);
    std::move(rest.begin(), rest.end(), std::back_inserter(pieces));
}

ExtentSet places_of(const std::vector<Piece>& pieces) {
    ExtentSet places;
    for (const Piece& p : pieces)
        places.insert({p.offset, p.offset + p.content.size()});
    return places;
}

void refuse_kept_at(const CopyPlan& plan, const ExtentSet& places) {
    for (const Kept& k : plan.kept)
        if (places.touches(k.extent))
            throw_error(Code::kRefused, "{}: {} {} lies where the partition table must be written",
                        plan.target.name, k.name, k.extent.text());
}

// Superblocks that stand behind the mark at the start of a disk without a table: at 32 KiB of ISO 9660, UDF
// and JFS, at 64 KiB of btrfs, GFS2 and ReiserFS. A kernel that finds one takes a half-copied disk for the
// filesystem, even for the source itself, whose identifiers it carries.
ExtentSet far_superblocks(const CopyPlan& plan, ByteOffset end) {
    ExtentSet places;
    if (plan.table.kind != layout::TableKind::kNone) return places;
    for (const ByteOffset begin : {32 * kKiB, 64 * kKiB})
        places.insert(Extent{begin, begin + 4 * kKiB}.clipped_to({0, end}));
    for (const Kept& k : plan.kept)
        places.erase(k.extent);
    return places;
}

// Sector 0 by itself: with it the disk becomes a disk. Everything else is in place before.
std::vector<Piece> split_off_sector0(std::vector<Piece>& primary, std::uint32_t sector_bytes) {
    Piece& head = primary.front();
    const auto cut = head.content.begin() + sector_bytes;
    std::vector<Piece> sector0{{0, Bytes(head.content.begin(), cut)}};
    head = {sector_bytes, Bytes(cut, head.content.end())};
    return sector0;
}

bool has_partition_at(const CopyPlan& plan, Extent place) {
    return std::any_of(plan.table.partitions.begin(), plan.table.partitions.end(),
                       [&](const layout::Partition& p) { return p.extent.touches(place); });
}

// The stages in the order in which they are written: the disk must not look like one before all that it
// promises is there, and a table or a mark must name what is kept at every moment.
std::vector<BootStage> in_order(const CopyPlan& plan, const ExtentSet& late, BootStage start,
                                BootStage sector0, BootStage end) {
    const bool is_gpt = plan.table.kind == layout::TableKind::kGpt;
    // A GPT is whole with its primary copy, so the mark at the end may go after it.
    if (is_gpt && !has_partition_at(plan, *std::prev(late.end()))) return {start, sector0, end};
    // A GPT of few entries lets a partition reach to where the mark stands: those bytes come first. With the
    // backup and sector 0 there is a table before the mark at the start goes.
    if (is_gpt && !has_partition_at(plan, *late.begin())) return {end, sector0, start};
    // Without a GPT both ends can hold the filesystems' own bytes.
    return {end, start, sector0};
}

}  // namespace

ExtentSet late_extents(const block::Geometry& target, std::uint32_t sector_bytes) {
    block::Geometry geometry = target;
    geometry.logical_sector_bytes = sector_bytes;
    ExtentSet late{Extent{0, sector_bytes}};
    late.insert(layout::mark_extent_head(geometry));
    late.insert(layout::mark_extent_tail(geometry));
    return late;
}

void hold_back_boot_structures(CopyPlan& plan, const block::Reader& source) {
    plan.bytes_used = plan.data.total_bytes();
    const std::uint64_t size = plan.target.geometry.size_bytes;
    const ExtentSet late = late_extents(plan.target.geometry, plan.sector_bytes);
    std::vector<Piece> primary{bytes_for(source, plan.data, *late.begin())};
    std::vector<Piece> tail{bytes_for(source, plan.data, *std::prev(late.end()))};
    for (Extent e : far_superblocks(plan, std::prev(late.end())->begin))
        primary.push_back(bytes_for(source, plan.data, e));
    if (plan.table.kind != layout::TableKind::kNone) {
        const layout::TableImage image = layout::encode_table(plan.table, size);
        // An extended boot record can stand in the last sectors of the disk: each byte belongs to one piece
        // only.
        for (const Piece& piece : image.primary)
            for (const Piece& rest : lay_over(tail, piece))
                add_over(primary, rest);
        for (const Piece& piece : image.backup)
            add_over(tail, piece);
    }
    ExtentSet places = places_of(primary);
    places.insert(places_of(tail));
    refuse_kept_at(plan, places);
    plan.data.erase(places);
    plan.zero.erase(places);
    plan.zero_used.erase(places);

    std::vector<Piece> sector0 = split_off_sector0(primary, plan.sector_bytes);
    BootStage end_stage{"end of the disk", std::move(tail)};
    BootStage start_stage{"start of the disk", std::move(primary)};
    BootStage sector0_stage{"sector 0", std::move(sector0)};
    plan.boot = in_order(plan, late, std::move(start_stage), std::move(sector0_stage), std::move(end_stage));
}

}  // namespace dupengine::engine
