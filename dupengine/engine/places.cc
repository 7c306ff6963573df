#include "engine/places.h"

#include <algorithm>

namespace dupengine::engine {
namespace {

using block::Extent;
using block::ExtentSet;

PartitionPlaces look_up(const block::Reader& source, unsigned number, Extent part,
                        const std::optional<layout::Signature>& signature, const ExtentSet& places) {
    PartitionPlaces result;
    result.partition = number;
    result.extents = places.clipped_to(part);
    if (signature) result.filesystem = signature->type;
    if (result.extents.empty()) return result;
    ExtentSet inside;
    for (Extent e : result.extents)
        inside.insert({e.begin - part.begin, e.end - part.begin});
    const block::Window window(source, part, source.name());
    result.owners = layout::find_file_owners(window, signature, inside);
    return result;
}

std::string name_one(const PartitionPlaces& places) {
    std::string text = place_text(places);
    const auto& files = places.owners.files;
    if (files.empty()) return text + (places.owners.reason.empty() ? ", in no file" : "");
    constexpr std::size_t kNamed = 3;
    for (std::size_t i = 0; i < std::min(files.size(), kNamed); ++i)
        text += (i == 0 ? ": " : ", ") + files[i].path;
    if (files.size() > kNamed) text += fmt::format(" and {} more", files.size() - kNamed);
    return text;
}

}  // namespace

std::vector<PartitionPlaces> sort_by_partition(const layout::DiskDescription& disk,
                                               const block::Reader& source, ExtentSet places) {
    std::vector<PartitionPlaces> sorted;
    const auto keep = [&](PartitionPlaces found) {
        if (!found.extents.empty()) sorted.push_back(std::move(found));
    };
    if (disk.table.kind == layout::TableKind::kNone) {
        keep(look_up(source, 0, {0, source.geometry().size_bytes}, disk.signature, places));
        return sorted;
    }
    for (const auto& p : disk.partitions) {
        keep(look_up(source, p.partition.number, p.partition.extent, p.signature, places));
        places.erase(p.partition.extent);
    }
    PartitionPlaces rest;
    rest.extents = std::move(places);
    keep(std::move(rest));
    return sorted;
}

std::string place_text(const PartitionPlaces& places) {
    if (places.partition != 0) return fmt::format("partition {}", places.partition);
    return places.filesystem.empty() ? "outside the partitions" : "the whole disk";
}

std::string name_places(const std::vector<PartitionPlaces>& places) {
    std::string text;
    for (const PartitionPlaces& p : places)
        text += (text.empty() ? "" : "; ") + name_one(p);
    return text;
}

}  // namespace dupengine::engine
