#include "layout/incomplete_mark.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "codec/digest.h"

namespace dupengine::layout {
namespace {

using nlohmann::json;

constexpr std::string_view kMagic = "DUPENGINE-UNDONE";
constexpr std::uint32_t kVersion = 1;
constexpr std::size_t kVersionAt = 16, kSizeAt = 20, kDigestAt = 24, kTextAt = 56;
constexpr std::uint64_t kEntriesBytes = 128 * 128;  // a GPT's usual 128 entries of 128 bytes
constexpr std::size_t kMostKept = 128;

json entry_json(const Partition& p) {
    return {{"number", p.number},
            {"type_guid", p.type_guid.text()},
            {"guid", p.guid.text()},
            {"name", p.name},
            {"attributes", p.attributes}};
}

Partition parse_entry(const json& text, block::Extent extent) {
    Partition p;
    p.number = text.at("number").get<unsigned>();
    p.extent = extent;
    p.type_guid = Guid::parse(text.at("type_guid").get<std::string>());
    p.guid = Guid::parse(text.at("guid").get<std::string>());
    p.name = text.at("name").get<std::string>();
    p.attributes = text.at("attributes").get<std::uint64_t>();
    return p;
}

IncompleteMark::Kept parse_kept(const json& text, std::uint64_t size_bytes) {
    IncompleteMark::Kept kept;
    kept.name = text.at("name").get<std::string>();
    kept.extent = {text.at("begin").get<std::uint64_t>(), text.at("end").get<std::uint64_t>()};
    if (kept.extent.empty() || kept.extent.end > size_bytes)
        throw_error(Code::kIntegrity, "a kept region outside the disk");
    if (text.contains("entry")) kept.entry = parse_entry(text.at("entry"), kept.extent);
    return kept;
}

IncompleteMark parse_text(std::string_view text) {
    const json object = json::parse(text);
    IncompleteMark mark;
    mark.source = object.at("source").get<std::string>();
    mark.started = object.at("started").get<std::int64_t>();
    mark.size_bytes = object.at("size_bytes").get<std::uint64_t>();
    const json& kept = object.at("protected");
    if (!kept.is_array() || kept.size() > kMostKept) throw_error(Code::kIntegrity, "too many kept regions");
    for (const json& one : kept)
        mark.kept.push_back(parse_kept(one, mark.size_bytes));
    return mark;
}

// Empty for anything but a whole mark that was written to a disk of this size.
std::optional<IncompleteMark> parse_mark(std::span<const std::byte> bytes, std::uint64_t disk_bytes) {
    if (bytes.size() < kTextAt || as_text(bytes.first(kMagic.size())) != kMagic) return {};
    const auto size = load_le<std::uint32_t>(bytes, kSizeAt);
    if (load_le<std::uint32_t>(bytes, kVersionAt) != kVersion || size > bytes.size() - kTextAt) return {};
    const auto text = bytes.subspan(kTextAt, size);
    const codec::Sha256 digest = codec::sha256(text);
    if (!std::equal(digest.begin(), digest.end(), bytes.begin() + kDigestAt)) return {};
    try {
        IncompleteMark mark = parse_text(as_text(text));
        if (mark.size_bytes == disk_bytes) return mark;
    } catch (const json::exception&) {  // our digest over somebody else's text: not ours
    } catch (const Error&) {
    }
    return {};
}

std::optional<IncompleteMark> read_mark(const block::Reader& disk, block::Extent place) {
    if (place.end > disk.geometry().size_bytes) return {};
    return parse_mark(block::read_extent(disk, place), disk.geometry().size_bytes);
}

}  // namespace

std::uint64_t mark_room_bytes(std::uint32_t sector_bytes) {
    return sector_bytes + std::max<std::uint64_t>(kEntriesBytes, sector_bytes);
}

block::Extent mark_extent_head(const block::Geometry& geometry) {
    const std::uint32_t sector = geometry.logical_sector_bytes;
    return {sector, sector + mark_room_bytes(sector)};
}

block::Extent mark_extent_tail(const block::Geometry& geometry) {
    // The end of an odd-sized file is not a sector's end; GPT's last sector is the last whole one.
    const ByteOffset end = align_down(geometry.size_bytes, geometry.logical_sector_bytes);
    const std::uint64_t room = mark_room_bytes(geometry.logical_sector_bytes);
    return {end < room ? 0 : end - room, end};
}

Bytes encode_mark(const IncompleteMark& mark, std::uint32_t sector_bytes) {
    json object = {{"source", mark.source}, {"started", mark.started}, {"size_bytes", mark.size_bytes}};
    object["protected"] = json::array();
    for (const auto& kept : mark.kept) {
        json one = {{"name", kept.name}, {"begin", kept.extent.begin}, {"end", kept.extent.end}};
        if (kept.entry) one["entry"] = entry_json(*kept.entry);
        object["protected"].push_back(std::move(one));
    }
    // Names come from disks and may be any bytes.
    const std::string text = object.dump(-1, ' ', false, json::error_handler_t::replace);
    Bytes bytes(mark_room_bytes(sector_bytes));
    if (mark.kept.size() > kMostKept || text.size() > bytes.size() - kTextAt)
        throw_error(Code::kRefused,
                    "{} protected regions are more than the mark of an unfinished copy can hold",
                    mark.kept.size());
    const auto content = as_bytes(text);
    const codec::Sha256 digest = codec::sha256(content);
    std::copy(kMagic.begin(), kMagic.end(), reinterpret_cast<char*>(bytes.data()));
    store_le<std::uint32_t>(bytes, kVersionAt, kVersion);
    store_le<std::uint32_t>(bytes, kSizeAt, static_cast<std::uint32_t>(text.size()));
    std::copy(digest.begin(), digest.end(), bytes.begin() + kDigestAt);
    std::copy(content.begin(), content.end(), bytes.begin() + kTextAt);
    return bytes;
}

std::optional<IncompleteMark> find_mark(const block::Reader& disk) {
    // A raw file does not say what sectors its disk had: both kinds are looked for.
    for (const std::uint32_t sector : {512u, 4096u}) {
        block::Geometry geometry = disk.geometry();
        geometry.logical_sector_bytes = sector;
        for (const block::Extent place : {mark_extent_head(geometry), mark_extent_tail(geometry)})
            if (auto mark = read_mark(disk, place)) return mark;
    }
    return {};
}

}  // namespace dupengine::layout
