#include "layout/lvm_group.h"

#include <algorithm>
#include <charconv>
#include <map>

#include "layout/lvm_text.h"

namespace dupengine::layout {
namespace {

using block::Extent;

constexpr std::uint64_t kSector = 512;

std::string without_dashes(std::string id) {
    std::erase(id, '-');
    return id;
}

std::uint64_t parse_number(const std::string& text) {
    std::uint64_t number = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
    if (error != std::errc() || end != text.data() + text.size())
        throw_error(Code::kIntegrity, "its metadata has a place that is no number");
    return number;
}

class Parser {
  public:
    explicit Parser(const LvmSection& group)
        : group_(group), extent_bytes_(checked_mul(group.number("extent_size"), kSector, "extent size")) {
        if (extent_bytes_ == 0) throw_error(Code::kIntegrity, "extents of no size");
    }

    LvmGroup run(const std::string& name) {
        result_.name = name;
        result_.id = without_dashes(group_.text("id"));
        result_.sequence = group_.number("seqno");
        for (const auto& [alias, volume] : group_.section("physical_volumes").sections) {
            aliases_[alias] = result_.physical.size();
            const std::uint64_t begin = checked_mul(volume.number("pe_start"), kSector, "first extent");
            const std::uint64_t end = checked_add(begin, bytes_of(volume.number("pe_count")), "last extent");
            constexpr std::size_t kIdBytes = 32;
            const std::string id = without_dashes(volume.text("id"));
            if (id.size() != kIdBytes) throw_error(Code::kIntegrity, "{} has no valid id", alias);
            result_.physical.push_back({id, {begin, end}});
        }
        const auto volumes = group_.sections.find("logical_volumes");
        if (volumes == group_.sections.end()) return std::move(result_);
        volumes_ = &volumes->second;
        note_parts();
        for (const auto& [volume, section] : volumes->second.sections)
            result_.logical.push_back(read_volume(volume, section));
        return std::move(result_);
    }

  private:
    std::uint64_t bytes_of(std::uint64_t extents) const {
        return checked_mul(extents, extent_bytes_, "extents");
    }

    // Snapshots, thin pools, caches, mirrors and RAIDs name in their segments the volumes they are built on.
    void note_parts() {
        for (const auto& [name, volume] : volumes_->sections)
            for (const auto& [key, segment] : volume.sections)
                for (const auto& [what, values] : segment.lists)
                    for (const std::string& value : values)
                        if (what != "type" && is_volume(value))
                            part_of_[value] = fmt::format("part of the {} {}", segment.text("type"), name);
    }

    // Where both have the name, LVM means the physical volume.
    bool is_volume(const std::string& name) const {
        return volumes_->sections.contains(name) && !aliases_.contains(name);
    }

    LvmLogicalVolume read_volume(const std::string& name, const LvmSection& section) const {
        LvmLogicalVolume volume;
        volume.name = name;
        const std::uint64_t count = section.number("segment_count");
        if (count > section.sections.size()) throw_error(Code::kIntegrity, "volume {} lacks segments", name);
        for (std::uint64_t i = 1; i <= count; ++i)
            add_segment(volume, section.section(fmt::format("segment{}", i)));
        const auto& status = section.list("status");
        if (const auto part = part_of_.find(name); part != part_of_.end())
            volume.special = part->second;
        else if (std::find(status.begin(), status.end(), "VISIBLE") == status.end())
            volume.special = "hidden";
        return volume;
    }

    void add_segment(LvmLogicalVolume& volume, const LvmSection& section) const {
        LvmSegment segment;
        const std::uint64_t begin = bytes_of(section.number("start_extent"));
        const std::uint64_t extents = section.number("extent_count");
        segment.range = {begin, checked_add(begin, bytes_of(extents), "volume size")};
        if (begin != volume.size_bytes || segment.range.empty())
            throw_error(Code::kIntegrity, "volume {} has gaps", volume.name);
        volume.size_bytes = segment.range.end;
        if (section.text("type") == "striped")  // also the type of what is linear
            add_stripes(volume, segment, section, extents);
        else
            add_copies(volume, segment, section, extents);
        volume.segments.push_back(std::move(segment));
    }

    void add_stripes(LvmLogicalVolume& volume, LvmSegment& segment, const LvmSection& section,
                     std::uint64_t extents) const {
        refuse_places_outside("stripes", section);
        const auto& places = section.list("stripes");
        const std::uint64_t count = places.size() / 2;
        if (count == 0 || places.size() % 2 != 0 || extents % count != 0)
            throw_error(Code::kIntegrity, "volume {} has broken stripes", volume.name);
        const std::uint64_t each = bytes_of(extents / count);
        segment.stripe_bytes =
            count == 1 ? each : checked_mul(section.number("stripe_size"), kSector, "stripe size");
        if (segment.stripe_bytes == 0 || each % segment.stripe_bytes != 0)
            throw_error(Code::kIntegrity, "volume {} has stripes of an impossible size", volume.name);
        add_places(volume, segment, places, each);
    }

    // Anything else. An unfinished pvmove is a mirror right on two physical volumes; all others lie on
    // volumes, which are looked at for themselves.
    void add_copies(LvmLogicalVolume& volume, LvmSegment& segment, const LvmSection& section,
                    std::uint64_t extents) const {
        volume.special = section.text("type");
        const bool mirror = volume.special == "mirror";
        refuse_places_outside(mirror ? "mirrors" : "", section);
        segment.stripe_bytes = segment.range.size();
        const auto& places = section.list("mirrors");
        if (!mirror || places.empty()) return;
        if (places.size() % 2 != 0)
            throw_error(Code::kIntegrity, "volume {} has broken mirrors", volume.name);
        add_places(volume, segment, places, bytes_of(extents));
    }

    // Extents that nobody records would be taken for free ones.
    void refuse_places_outside(std::string_view known, const LvmSection& section) const {
        for (const auto& [what, values] : section.lists)
            for (const std::string& value : values)
                if (what != known && what != "type" && what != "tags" && aliases_.contains(value))
                    throw_error(Code::kIntegrity, "a {} segment lies on {} in a way that is not known",
                                section.text("type"), value);
    }

    // Pairs of a physical volume and its first extent there; or of a volume, as pvmove makes them for a
    // while, whose places are its own.
    void add_places(LvmLogicalVolume& volume, LvmSegment& segment, const std::vector<std::string>& places,
                    std::uint64_t each) const {
        for (std::size_t i = 0; i < places.size(); i += 2)
            if (!is_volume(places[i]))
                segment.stripes.push_back(find_stripe(places[i], parse_number(places[i + 1]), each));
            else if (volume.special.empty())
                volume.special = "on the volume " + places[i];
    }

    LvmSegment::Stripe find_stripe(const std::string& alias, std::uint64_t first, std::uint64_t size) const {
        const auto volume = aliases_.find(alias);
        if (volume == aliases_.end())
            throw_error(Code::kIntegrity, "its metadata has no physical volume {}", alias);
        const Extent extents = result_.physical[volume->second].extents;
        const std::uint64_t begin = checked_add(extents.begin, bytes_of(first), "place of a segment");
        const Extent place{begin, checked_add(begin, size, "end of a segment")};
        if (place.end > extents.end) throw_error(Code::kIntegrity, "a volume passes the end of {}", alias);
        return {volume->second, place};
    }

    const LvmSection& group_;
    std::uint64_t extent_bytes_;
    const LvmSection* volumes_ = nullptr;
    LvmGroup result_;
    std::map<std::string, std::size_t> aliases_;  // "pv0": which of the physical volumes
    std::map<std::string, std::string> part_of_;
};

void refuse_overlaps(const LvmGroup& group) {
    std::vector<LvmSegment::Stripe> all;
    for (const LvmLogicalVolume& volume : group.logical)
        for (const LvmSegment& segment : volume.segments)
            all.insert(all.end(), segment.stripes.begin(), segment.stripes.end());
    std::sort(all.begin(), all.end(), [](const auto& a, const auto& b) {
        return std::pair(a.volume, a.place.begin) < std::pair(b.volume, b.place.begin);
    });
    for (std::size_t i = 1; i < all.size(); ++i)
        if (all[i].volume == all[i - 1].volume && all[i].place.begin < all[i - 1].place.end)
            throw_error(Code::kIntegrity, "its volumes overlap");
}

}  // namespace

LvmGroup parse_lvm_group(std::string_view metadata) {
    const LvmSection root = parse_lvm_text(metadata);
    if (root.sections.size() != 1) throw_error(Code::kIntegrity, "its metadata is not of one group");
    const auto& [name, section] = *root.sections.begin();
    LvmGroup group = Parser(section).run(name);
    refuse_overlaps(group);
    return group;
}

}  // namespace dupengine::layout
