#include "layout/incomplete_mark.h"

#include <algorithm>
#include <nlohmann/json.hpp>

namespace dupengine::layout {
namespace {

using nlohmann::json;

constexpr std::string_view kMagic = "DUPENGINE-UNDONE";
constexpr std::uint32_t kVersion = 1;
constexpr std::size_t kVersionAt = 16, kSizeAt = 20, kDigestAt = 24, kTextAt = 56;

[[noreturn]] void reject(const char* key) {
    throw_error(Code::kIntegrity, "the incomplete mark's '{}' is wrong", key);
}

json to_json(const Partition& entry) {
    return {{"number", entry.number},         {"type_guid", entry.type_guid.text()},
            {"guid", entry.guid.text()},      {"name", entry.name},
            {"attributes", entry.attributes}, {"mbr_type", entry.mbr_type},
            {"mbr_active", entry.mbr_active}, {"mbr_logical", entry.mbr_logical}};
}

json to_json(const IncompleteMark::Journal& journal) {
    return {{"begin", journal.place.begin},
            {"end", journal.place.end},
            {"id", to_hex(journal.id)},
            {"plan", to_hex(journal.plan)},
            {"source", to_hex(journal.source)}};
}

std::string to_text(const IncompleteMark& mark) {
    json kept = json::array();
    for (const IncompleteMark::Kept& region : mark.kept) {
        json one = {{"name", region.name}, {"begin", region.extent.begin}, {"end", region.extent.end}};
        if (region.entry) one["entry"] = to_json(*region.entry);
        kept.push_back(std::move(one));
    }
    json text = {{"source", mark.source},
                 {"started", mark.started},
                 {"size_bytes", mark.size_bytes},
                 {"protected", std::move(kept)}};
    if (mark.journal) text["journal"] = to_json(*mark.journal);
    // A path need not be UTF-8; a mark that cannot be written would be worse than one with a strange name.
    return text.dump(-1, ' ', false, json::error_handler_t::replace);
}

const json& member(const json& object, const char* key) {
    const auto at = object.find(key);
    if (at == object.end()) reject(key);
    return *at;
}

std::string text_of(const json& object, const char* key) {
    const json& value = member(object, key);
    if (!value.is_string()) reject(key);
    return value.get<std::string>();
}

std::uint64_t number_of(const json& object, const char* key, std::uint64_t limit) {
    const json& value = member(object, key);
    if (!value.is_number_unsigned() || value.get<std::uint64_t>() > limit) reject(key);
    return value.get<std::uint64_t>();
}

bool flag_of(const json& object, const char* key) {
    const json& value = member(object, key);
    if (!value.is_boolean()) reject(key);
    return value.get<bool>();
}

constexpr std::uint64_t kAny = std::numeric_limits<std::uint64_t>::max();

Partition entry_from(const json& object, block::Extent extent) {
    if (!object.is_object()) reject("entry");
    Partition entry;
    entry.number = static_cast<unsigned>(number_of(object, "number", std::numeric_limits<unsigned>::max()));
    entry.extent = extent;
    entry.type_guid = Guid::parse(text_of(object, "type_guid"));
    entry.guid = Guid::parse(text_of(object, "guid"));
    entry.name = text_of(object, "name");
    entry.attributes = number_of(object, "attributes", kAny);
    entry.mbr_type = static_cast<std::uint8_t>(number_of(object, "mbr_type", 0xFF));
    entry.mbr_active = flag_of(object, "mbr_active");
    entry.mbr_logical = flag_of(object, "mbr_logical");
    return entry;
}

IncompleteMark::Kept kept_from(const json& object, std::uint64_t size_bytes) {
    if (!object.is_object()) reject("protected");
    IncompleteMark::Kept kept;
    kept.name = text_of(object, "name");
    kept.extent = {number_of(object, "begin", size_bytes), number_of(object, "end", size_bytes)};
    if (kept.extent.empty()) reject("end");
    if (object.contains("entry")) kept.entry = entry_from(object["entry"], kept.extent);
    return kept;
}

codec::Sha256 digest_from(const json& object, const char* key) {
    codec::Sha256 digest{};
    const Bytes bytes = from_hex(text_of(object, key));
    if (bytes.size() != digest.size()) reject(key);
    std::copy(bytes.begin(), bytes.end(), digest.begin());
    return digest;
}

IncompleteMark::Journal journal_from(const json& object, std::uint64_t size_bytes) {
    if (!object.is_object()) reject("journal");
    IncompleteMark::Journal journal;
    journal.place = {number_of(object, "begin", size_bytes), number_of(object, "end", size_bytes)};
    if (journal.place.empty()) reject("end");
    journal.id = digest_from(object, "id");
    journal.plan = digest_from(object, "plan");
    journal.source = digest_from(object, "source");
    return journal;
}

IncompleteMark from_text(std::string_view text) {
    const json object = json::parse(text, nullptr, false);
    if (!object.is_object()) reject("text");
    IncompleteMark mark;
    mark.source = text_of(object, "source");
    const json& started = member(object, "started");
    if (!started.is_number_integer()) reject("started");
    mark.started = started.get<std::int64_t>();
    mark.size_bytes = number_of(object, "size_bytes", kAny);
    const json& kept = member(object, "protected");
    if (!kept.is_array()) reject("protected");
    for (const json& region : kept)
        mark.kept.push_back(kept_from(region, mark.size_bytes));
    try {
        if (object.contains("journal")) mark.journal = journal_from(object["journal"], mark.size_bytes);
    } catch (const Error&) {
        // Of no use, but what the mark protects counts all the same.
    }
    return mark;
}

std::optional<IncompleteMark> decode(std::span<const std::byte> room) {
    if (as_text(room).substr(0, kMagic.size()) != kMagic) return {};
    if (load_le<std::uint32_t>(room, kVersionAt) != kVersion) return {};
    const std::size_t size = load_le<std::uint32_t>(room, kSizeAt);
    if (size > room.size() - kTextAt) return {};
    const auto text = room.subspan(kTextAt, size);
    const codec::Sha256 digest = codec::sha256(text);
    if (!std::equal(digest.begin(), digest.end(), room.begin() + kDigestAt)) return {};
    try {
        return from_text(as_text(text));
    } catch (const Error&) {
        return {};  // whole, and still not one of ours
    }
}

std::optional<IncompleteMark> find_at(const block::Reader& disk, block::Extent place) {
    auto mark = decode(block::read_extent(disk, place));
    if (mark && mark->size_bytes != disk.geometry().size_bytes) return {};
    return mark;
}

// The first sector, and both marks apart from each other.
bool has_room(const block::Geometry& geometry) {
    const std::uint64_t sector = geometry.logical_sector_bytes;
    return align_down(geometry.size_bytes, sector) >=
           sector + 2 * mark_room_bytes(geometry.logical_sector_bytes);
}

void require_room(const block::Geometry& geometry) {
    if (!has_room(geometry))
        throw_error(Code::kRefused, "a disk of {} bytes is too small for the mark of an incomplete copy",
                    geometry.size_bytes);
}

}  // namespace

std::uint64_t mark_room_bytes(std::uint32_t sector_bytes) {
    constexpr std::uint64_t kEntriesBytes = std::uint64_t{128} * 128;
    return sector_bytes + align_up(kEntriesBytes, sector_bytes);
}

block::Extent mark_extent_head(const block::Geometry& geometry) {
    require_room(geometry);
    const std::uint64_t sector = geometry.logical_sector_bytes;
    return {sector, sector + mark_room_bytes(geometry.logical_sector_bytes)};
}

block::Extent mark_extent_tail(const block::Geometry& geometry) {
    require_room(geometry);
    const std::uint64_t end = align_down(geometry.size_bytes, geometry.logical_sector_bytes);
    return {end - mark_room_bytes(geometry.logical_sector_bytes), end};
}

Bytes encode_mark(const IncompleteMark& mark, std::uint32_t sector_bytes) {
    const std::string text = to_text(mark);
    Bytes room(mark_room_bytes(sector_bytes));
    if (text.size() > room.size() - kTextAt)
        throw_error(Code::kRefused,
                    "{} protected regions are more than the mark of an incomplete copy can name",
                    mark.kept.size());
    const codec::Sha256 digest = codec::sha256(as_bytes(text));
    std::copy_n(as_bytes(kMagic).begin(), kMagic.size(), room.begin());
    store_le<std::uint32_t>(room, kVersionAt, kVersion);
    store_le<std::uint32_t>(room, kSizeAt, static_cast<std::uint32_t>(text.size()));
    std::copy(digest.begin(), digest.end(), room.begin() + kDigestAt);
    std::copy_n(as_bytes(text).begin(), text.size(), room.begin() + kTextAt);
    return room;
}

std::optional<IncompleteMark> find_mark(const block::Reader& disk) {
    constexpr std::uint32_t kLargeSector = 4096;
    std::vector<block::Geometry> geometries = {disk.geometry()};
    // A file does not say that it is the image of a disk with larger sectors.
    if (!geometries[0].is_block_device && geometries[0].logical_sector_bytes < kLargeSector) {
        geometries.push_back(geometries[0]);
        geometries[1].logical_sector_bytes = kLargeSector;
    }
    for (const block::Geometry& geometry : geometries) {
        if (!has_room(geometry)) continue;
        // The one at the end is written first and removed last: it is never the older one.
        for (const block::Extent place : {mark_extent_tail(geometry), mark_extent_head(geometry)})
            if (auto mark = find_at(disk, place)) {
                mark->sector_bytes = geometry.logical_sector_bytes;
                return mark;
            }
    }
    return {};
}

}  // namespace dupengine::layout
