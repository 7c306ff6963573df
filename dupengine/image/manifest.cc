#include "image/manifest.h"

#include <algorithm>
#include <bit>
#include <nlohmann/json.hpp>

#include "image/reference.h"

namespace dupengine::image {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::string_view kFormat = "dupengine image";
constexpr unsigned kVersion = 1;
constexpr std::uint32_t kMostLists = 4096;
constexpr std::uint32_t kLeastChunksPerList = 16 * 1024, kMostChunksPerList = 1024 * 1024;

[[noreturn]] void refuse(const std::string& what) {
    throw_error(Code::kIntegrity, "not a manifest of an image: {}", what);
}

// Numbers are numbers and within limits, texts are texts of a sane length.
std::uint64_t number(const Json& json, const char* name, std::uint64_t most) {
    const auto at = json.find(name);
    if (at == json.end() || !at->is_number_unsigned()) refuse(fmt::format("'{}' is no number", name));
    const auto value = at->get<std::uint64_t>();
    if (value > most) refuse(fmt::format("'{}' is {}, more than {}", name, value, most));
    return value;
}

std::string text(const Json& json, const char* name) {
    constexpr std::size_t kLongest = 4096;
    const auto at = json.find(name);
    if (at == json.end() || !at->is_string()) refuse(fmt::format("'{}' is no text", name));
    auto value = at->get<std::string>();
    if (value.size() > kLongest) refuse(fmt::format("'{}' is too long", name));
    return value;
}

const Json& array(const Json& json, const char* name, std::size_t most) {
    const auto at = json.find(name);
    if (at == json.end() || !at->is_array()) refuse(fmt::format("'{}' is no array", name));
    if (at->size() > most) refuse(fmt::format("'{}' is too long", name));
    return *at;
}

codec::Sha256 digest(const Json& json, const char* name) {
    const std::string hex = text(json, name);
    codec::Sha256 digest;
    if (hex.size() != 2 * digest.size() || hex.find_first_not_of("0123456789abcdef") != std::string::npos)
        refuse(fmt::format("'{}' is no SHA-256", name));
    std::ranges::copy(from_hex(hex), digest.begin());
    return digest;
}

constexpr std::uint64_t kAnyNumber = std::uint64_t{1} << 62;

Manifest::Partition parse_partition(const Json& json) {
    Manifest::Partition partition;
    partition.number = static_cast<unsigned>(number(json, "number", 65536));
    partition.extent = {number(json, "begin", kAnyNumber), number(json, "end", kAnyNumber)};
    partition.name = text(json, "name");
    partition.filesystem = text(json, "filesystem");
    partition.used_bytes = number(json, "used_bytes", kAnyNumber);
    return partition;
}

Manifest::List parse_list(const Json& json, const Manifest& manifest) {
    Manifest::List list;
    list.number = number(json, "number", kMostLists - 1);
    if (!manifest.lists.empty() && list.number <= manifest.lists.back().number)
        refuse("the lists are not in order");
    const std::uint64_t stretch = std::uint64_t{manifest.chunks_per_list} * manifest.chunk_bytes;
    if (list.number >= (manifest.size_bytes + stretch - 1) / stretch) refuse("a list lies behind the disk");
    list.offset = number(json, "offset", kAnyNumber);
    // No list of chunks grows by being compressed, but for a few bytes.
    list.bytes = static_cast<std::uint32_t>(
        number(json, "bytes", std::uint64_t{manifest.chunks_per_list} * sizeof(codec::Sha256) + 65536));
    list.sha256 = digest(json, "sha256");
    return list;
}

void check(const Manifest& manifest) {
    if (!is_image_name(manifest.name)) refuse("its name cannot be one");
    if (manifest.version == 0) refuse("its version is 0");
    if (manifest.size_bytes == 0) refuse("its disk has no size");
    if (manifest.sector_bytes != 512 && manifest.sector_bytes != 4096)
        refuse(fmt::format("sectors of {} bytes", manifest.sector_bytes));
    if (manifest.chunk_bytes < 4096 || manifest.chunk_bytes > 8 * kMiB ||
        !std::has_single_bit(manifest.chunk_bytes))
        refuse(fmt::format("chunks of {} bytes", manifest.chunk_bytes));
    if (manifest.chunks_per_list == 0 || manifest.chunks_per_list > kMostChunksPerList)
        refuse(fmt::format("{} chunks a list", manifest.chunks_per_list));
}

Manifest parse(const Json& json) {
    if (!json.is_object() || text(json, "format") != kFormat) refuse("it does not say that it is one");
    if (const auto version = number(json, "format_version", kAnyNumber); version != kVersion)
        throw_error(Code::kUnsupported,
                    "a manifest of format {}; this dupengine knows format {}: use the one that wrote it",
                    version, kVersion);
    Manifest manifest;
    manifest.name = text(json, "name");
    manifest.version = number(json, "version", kAnyNumber);
    manifest.created = static_cast<std::int64_t>(number(json, "created", kAnyNumber));
    if (json.contains("expires"))
        manifest.expires = static_cast<std::int64_t>(number(json, "expires", kAnyNumber));
    manifest.target_class = text(json, "target_class");
    manifest.source = text(json, "source");
    manifest.size_bytes = number(json, "size_bytes", kAnyNumber);
    manifest.sector_bytes = static_cast<std::uint32_t>(number(json, "sector_bytes", 4096));
    manifest.table = text(json, "table");
    for (const Json& partition : array(json, "partitions", 65536))
        manifest.partitions.push_back(parse_partition(partition));
    manifest.data_bytes = number(json, "data_bytes", kAnyNumber);
    manifest.chunk_bytes = static_cast<std::uint32_t>(number(json, "chunk_bytes", 8 * kMiB));
    manifest.chunks_per_list =
        static_cast<std::uint32_t>(number(json, "chunks_per_list", kMostChunksPerList));
    check(manifest);
    for (const Json& list : array(json, "lists", kMostLists))
        manifest.lists.push_back(parse_list(list, manifest));
    return manifest;
}

}  // namespace

std::uint32_t choose_chunks_per_list(std::uint64_t size_bytes) {
    std::uint32_t chunks = kLeastChunksPerList;
    while (size_bytes / kChunkBytes / chunks >= kMostLists) {
        chunks *= 2;
        if (chunks > kMostChunksPerList)
            throw_error(Code::kUnsupported, "an image cannot hold a disk of more than 256 TiB");
    }
    return chunks;
}

std::string to_json(const Manifest& manifest) {
    Json json = {{"format", kFormat},
                 {"format_version", kVersion},
                 {"name", manifest.name},
                 {"version", manifest.version},
                 {"created", manifest.created}};
    if (manifest.expires) json["expires"] = *manifest.expires;
    json["target_class"] = manifest.target_class;
    json["source"] = manifest.source;
    json["size_bytes"] = manifest.size_bytes;
    json["sector_bytes"] = manifest.sector_bytes;
    json["table"] = manifest.table;
    json["partitions"] = Json::array();
    for (const Manifest::Partition& partition : manifest.partitions)
        json["partitions"].push_back({{"number", partition.number},
                                      {"begin", partition.extent.begin},
                                      {"end", partition.extent.end},
                                      {"name", partition.name},
                                      {"filesystem", partition.filesystem},
                                      {"used_bytes", partition.used_bytes}});
    json["data_bytes"] = manifest.data_bytes;
    json["chunk_bytes"] = manifest.chunk_bytes;
    json["chunks_per_list"] = manifest.chunks_per_list;
    json["lists"] = Json::array();
    for (const Manifest::List& list : manifest.lists)
        json["lists"].push_back({{"number", list.number},
                                 {"offset", list.offset},
                                 {"bytes", list.bytes},
                                 {"sha256", to_hex(list.sha256)}});
    return json.dump(1, ' ', false, Json::error_handler_t::replace) + "\n";
}

std::string manifest_text(const Manifest& manifest) {
    std::string json = to_json(manifest);
    if (json.size() > kManifestLimit)
        throw_error(Code::kUnsupported, "the manifest would be larger than {} bytes: too many partitions",
                    kManifestLimit);
    return json;
}

Manifest parse_manifest(std::span<const std::byte> bytes) {
    // Deep nesting would be parsed by recursion; a manifest has four levels.
    const auto deep_is_wrong = [](int depth, Json::parse_event_t, Json&) {
        if (depth > 8) refuse("it is nested too deeply");
        return true;
    };
    try {
        return parse(Json::parse(as_text(bytes), deep_is_wrong));
    } catch (const Json::exception& e) {
        refuse(e.what());
    }
}

}  // namespace dupengine::image
