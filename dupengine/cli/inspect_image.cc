// dupengine inspect image:STORE[#NAME[@VERSION]]: which images a store holds, or what one is of.

#include <ctime>
#include <nlohmann/json.hpp>

#include "base/units.h"
#include "cli/drawing.h"
#include "cli/image_view.h"
#include "cli/terminal.h"
#include "cli/text.h"
#include "image/chunk_use.h"
#include "image/tar_names.h"

namespace dupengine::cli {
namespace {

using Json = nlohmann::ordered_json;

struct Seen {
    image::StoredImage image;
    image::Manifest manifest;
    bool is_signed = false;
    std::uint64_t own_bytes = 0;  // stored for it alone
};

std::string time_text(std::int64_t seconds) {
    const std::time_t time = seconds;
    std::tm parts{};
    ::gmtime_r(&time, &parts);
    return fmt::format("{:04}-{:02}-{:02} {:02}:{:02} UTC", parts.tm_year + 1900, parts.tm_mon + 1,
                       parts.tm_mday, parts.tm_hour, parts.tm_min);
}

Seen look_at(const image::Files& files, const image::StoredImage& stored) {
    return {stored, image::read_manifest(files, stored, {}, nullptr),
            files.size_of(stored.base() + ".sig").has_value(), 0};
}

Json image_json(const Seen& seen) {
    const image::Manifest& m = seen.manifest;
    Json json = {{"name", m.name},
                 {"version", m.version},
                 {"created", m.created},
                 {"source", m.source},
                 {"signed", seen.is_signed},
                 {"size_bytes", m.size_bytes},
                 {"sector_bytes", m.sector_bytes},
                 {"data_bytes", m.data_bytes},
                 {"table", m.table},
                 {"target_class", m.target_class}};
    if (m.expires) json["expires"] = *m.expires;
    json["partitions"] = Json::array();
    for (const auto& p : m.partitions)
        json["partitions"].push_back({{"number", p.number},
                                      {"begin", p.extent.begin},
                                      {"end", p.extent.end},
                                      {"name", p.name},
                                      {"filesystem", p.filesystem},
                                      {"used_bytes", p.used_bytes}});
    return json;
}

std::string image_text(const Seen& seen, const DrawingStyle& style) {
    const image::Manifest& m = seen.manifest;
    std::string text =
        fmt::format("{}  {}, {} of data, captured {} from {}\n", seen.image.text(), format_size(m.size_bytes),
                    format_size(m.data_bytes), time_text(m.created), printable(m.source, style.charset));
    text += seen.is_signed ? "signed (copy and verify look whether the key is trusted)" : "not signed";
    if (m.expires) text += ", expires " + time_text(*m.expires);
    if (!m.target_class.empty())
        text += ", for machines with the role " + printable(m.target_class, style.charset);
    text += "\n";
    std::vector<Segment> segments;
    std::vector<Row> rows;
    for (const auto& p : m.partitions) {
        const std::string name = printable(p.name, style.charset);
        segments.push_back(
            {p.extent, fmt::format("{} {}", p.number, name), p.filesystem, SegmentKind::kData, {}});
        Row row;
        row.cells = {std::to_string(p.number),
                     format_size(p.extent.begin),
                     format_size(p.extent.size()),
                     format_size(p.used_bytes),
                     printable(p.filesystem, style.charset),
                     name};
        rows.push_back(std::move(row));
    }
    if (rows.empty()) return text;
    constexpr std::uint64_t kSmallestGapShown = 4 * kMiB;
    text +=
        draw_bar(with_free_space(std::move(segments), {0, m.size_bytes}, kSmallestGapShown, "free"), style);
    const std::vector<Column> columns = {{"#", true},    {"begin", true},       {"size", true},
                                         {"used", true}, {"filesystem", false}, {"name", false}};
    return text + draw_table(columns, rows, style);
}

std::string store_text(const std::vector<Seen>& images, const DrawingStyle& style) {
    if (images.empty()) return "the store is empty\n";
    const std::vector<Column> columns = {{"image", false}, {"captured", false}, {"disk", true},
                                         {"data", true},   {"alone", true},     {"signed", false}};
    std::vector<Row> rows;
    for (const Seen& seen : images) {
        Row row;
        row.cells = {seen.image.text(),
                     time_text(seen.manifest.created),
                     format_size(seen.manifest.size_bytes),
                     format_size(seen.manifest.data_bytes),
                     format_size(seen.own_bytes),
                     seen.is_signed ? "yes" : "no"};
        rows.push_back(std::move(row));
    }
    return draw_table(columns, rows, style) + "alone: stored for this image and shared with no other\n";
}

int inspect_store(const image::Reference& reference, const image::WebOptions& web, const Globals& globals) {
    const auto files = image::open_files(reference, web);
    const auto lock = image::lock_for_reading(reference);
    std::vector<Seen> images;
    image::ChunkUse use(*files);
    for (const image::StoredImage& stored : image::read_store_index(*files).images) {
        images.push_back(look_at(*files, stored));
        use.add(image::ChunkMap(*files, images.back().manifest, stored.base()));
    }
    for (std::size_t i = 0; i < images.size(); ++i)
        images[i].own_bytes = use.bytes_of(static_cast<std::uint16_t>(i + 1));
    if (globals.json) {
        Json json = {{"store", reference.shown()}, {"images", Json::array()}};
        for (const Seen& seen : images) {
            json["images"].push_back(image_json(seen));
            json["images"].back()["bytes_alone"] = seen.own_bytes;
        }
        fmt::print("{}\n", json.dump(2, ' ', false, Json::error_handler_t::replace));
    } else {
        fmt::print("{}", store_text(images, look_at_terminal(1).style));
    }
    return 0;
}

// One that comes through a pipe is alone in it.
Seen look_at_pipe(const image::Reference& reference) {
    const image::OpenImage open = image::open_image(reference, {});
    const image::StoredImage stored{open.manifest().name, open.manifest().version};
    Seen seen{stored, open.manifest(), open.files->size_of(stored.base() + ".sig").has_value(), 0};
    open.finish();
    return seen;
}

Seen look_at_stored(const image::Reference& reference, const image::WebOptions& web) {
    const auto files = image::open_files(reference, web);
    const auto lock = image::lock_for_reading(reference);
    return look_at(*files, image::read_store_index(*files).find(reference));
}

}  // namespace

int inspect_image(const image::Reference& reference, const image::WebOptions& web, const Globals& globals) {
    const bool is_pipe = reference.place == image::kPipe;
    if (!reference.name && !is_pipe) return inspect_store(reference, web, globals);
    const Seen seen = is_pipe ? look_at_pipe(reference) : look_at_stored(reference, web);
    if (globals.json)
        fmt::print("{}\n", image_json(seen).dump(2, ' ', false, Json::error_handler_t::replace));
    else
        fmt::print("{}", image_text(seen, look_at_terminal(1).style));
    return 0;
}

}  // namespace dupengine::cli
