#include "cli/places_view.h"

#include <algorithm>

#include "base/units.h"
#include "cli/text.h"

namespace dupengine::cli {

using Json = nlohmann::ordered_json;

Json extents_json(const block::ExtentSet& extents) {
    Json json = Json::array();
    for (block::Extent e : extents)
        json.push_back({{"begin", e.begin}, {"end", e.end}});
    return json;
}

Json places_json(const engine::PartitionPlaces& places, const std::string& bytes_name) {
    Json files = Json::array();
    for (const layout::FileOwner& file : places.owners.files)
        files.push_back({{"path", file.path}, {"bytes", file.bytes}});
    Json json = {{"partition", places.partition},
                 {"filesystem", places.filesystem},
                 {bytes_name, places.extents.total_bytes()},
                 {"files", files},
                 {"bytes_in_no_file", places.owners.other_bytes},
                 {"extents", extents_json(places.extents)}};
    if (!places.owners.reason.empty()) json["no_names_because"] = places.owners.reason;
    return json;
}

std::string places_lines(const engine::PartitionPlaces& places, const std::string& what, Charset charset) {
    constexpr std::size_t kFilesShown = 20;
    const auto& files = places.owners.files;
    std::string where = engine::place_text(places);
    if (!places.filesystem.empty()) where += fmt::format(" ({})", printable(places.filesystem, charset));
    std::string text = fmt::format("{}: {} {}\n", where, format_size(places.extents.total_bytes()), what);
    for (std::size_t i = 0; i < std::min(files.size(), kFilesShown); ++i)
        text += fmt::format("    {}  {}\n", format_size(files[i].bytes), printable(files[i].path, charset));
    if (files.size() > kFilesShown)
        text += fmt::format("    and {} more files (--json names all)\n", files.size() - kFilesShown);
    if (!places.owners.reason.empty())
        text += fmt::format("    {}\n", printable(places.owners.reason, charset));
    else if (places.owners.other_bytes != 0)
        text += fmt::format("    {} in no file: the filesystem's own structures, or free\n",
                            format_size(places.owners.other_bytes));
    return text;
}

}  // namespace dupengine::cli
