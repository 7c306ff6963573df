#include <nlohmann/json.hpp>

#include "cli/inspection.h"

namespace dupengine::cli {
namespace {

using Json = nlohmann::ordered_json;

Json extent_json(block::Extent extent) {
    return {{"begin", extent.begin}, {"end", extent.end}};
}

Json text_or_null(const std::string& text) {
    return text.empty() ? Json() : Json(text);
}

Json guid_json(const Guid& guid) {
    return guid.is_null() ? Json() : Json(guid.text());
}

Json filesystem_json(const std::optional<layout::Signature>& signature) {
    if (!signature) return nullptr;
    return {{"type", signature->type},
            {"usage", signature->usage},
            {"version", text_or_null(signature->version)},
            {"uuid", text_or_null(signature->uuid)},
            {"label", text_or_null(signature->label)}};
}

// Without known used extents everything has to be copied: used_bytes is then the whole size.
Json used_json(const layout::UsedExtents& used, std::uint64_t size) {
    return {{"bytes", used.whole ? size : used.used.total_bytes()},
            {"whole", used.whole},
            {"reason", text_or_null(used.reason)},
            {"note", text_or_null(used.note)},
            {"block_bytes", used.block_bytes},
            {"filesystem_bytes", used.filesystem_bytes}};
}

Json table_json(const layout::DiskDescription& disk) {
    const layout::PartitionTable& table = disk.table;
    const bool is_gpt = table.kind == layout::TableKind::kGpt;
    const bool has_signature = table.kind != layout::TableKind::kNone;
    return {{"kind", layout::table_kind_name(table.kind)},
            {"sector_bytes", table.sector_bytes},
            {"guid", guid_json(table.disk_guid)},
            {"mbr_signature", has_signature ? Json(fmt::format("{:08x}", table.mbr_signature)) : Json()},
            {"first_usable_lba", is_gpt ? Json(table.first_usable_lba) : Json()},
            {"last_usable_lba", is_gpt ? Json(table.last_usable_lba) : Json()},
            {"entry_count", is_gpt ? Json(table.entry_count) : Json()},
            {"primary_valid", is_gpt ? Json(table.primary_valid) : Json()},
            {"backup_valid", is_gpt ? Json(table.backup_valid) : Json()},
            {"damaged", text_or_null(disk.damaged_table)}};
}

Json use_json(const layout::Use& use) {
    return {{"kind", layout::use_kind_name(use.kind)},
            {"device", use.device},
            {"detail", use.detail},
            {"part", use.part ? extent_json(*use.part) : Json()}};
}

Json partition_json(const Inspection& inspection, const layout::PartitionDescription& described) {
    const layout::Partition& partition = described.partition;
    const bool is_mbr = inspection.disk.table.kind == layout::TableKind::kMbr;
    Json uses = Json::array();
    for (const layout::Use& use : inspection.uses)
        if (is_use_of(use, partition)) uses.push_back(use_json(use));
    return {{"number", partition.number},
            {"begin", partition.extent.begin},
            {"end", partition.extent.end},
            {"size_bytes", partition.extent.size()},
            {"type", type_in_words(inspection.disk.table.kind, partition)},
            {"type_guid", guid_json(partition.type_guid)},
            {"guid", guid_json(partition.guid)},
            {"name", text_or_null(partition.name)},
            {"attributes", is_mbr ? Json() : Json(partition.attributes)},
            {"mbr_type", is_mbr ? Json(partition.mbr_type) : Json()},
            {"mbr_active", is_mbr ? Json(partition.mbr_active) : Json()},
            {"mbr_logical", is_mbr ? Json(partition.mbr_logical) : Json()},
            {"filesystem", filesystem_json(described.signature)},
            {"used", used_json(described.used, partition.extent.size())},
            {"protected", text_or_null(protection_of(inspection, partition))},
            {"uses", std::move(uses)}};
}

Json incomplete_json(const std::optional<layout::IncompleteMark>& mark) {
    if (!mark) return nullptr;
    Json kept = Json::array();
    for (const auto& region : mark->kept)
        kept.push_back({{"name", region.name}, {"begin", region.extent.begin}, {"end", region.extent.end}});
    return {{"source", mark->source}, {"started", mark->started}, {"protected", std::move(kept)}};
}

}  // namespace

std::string inspection_json(const Inspection& inspection) {
    const layout::DiskDescription& disk = inspection.disk;
    const bool bare = disk.table.kind == layout::TableKind::kNone;
    Json partitions = Json::array(), uses = Json::array(), problems = Json::array();
    for (const auto& described : disk.partitions)
        partitions.push_back(partition_json(inspection, described));
    for (const layout::Use& use : inspection.uses)
        uses.push_back(use_json(use));
    for (const std::string& problem : disk.table.problems)
        problems.push_back(problem);
    if (inspection.failure) problems.push_back(inspection.failure->what());
    const Json document = {
        {"result", inspection.failure ? "error" : "described"},
        {"name", disk.name},
        {"size_bytes", disk.geometry.size_bytes},
        {"sector_bytes", disk.geometry.logical_sector_bytes},
        {"physical_sector_bytes", disk.geometry.physical_sector_bytes},
        {"block_device", disk.geometry.is_block_device},
        {"table", table_json(disk)},
        {"filesystem", bare ? filesystem_json(disk.signature) : Json()},
        {"used", bare ? used_json(disk.used, disk.geometry.size_bytes) : Json()},
        {"partitions", std::move(partitions)},
        {"uses", std::move(uses)},
        {"incomplete", incomplete_json(disk.incomplete)},
        {"problems", std::move(problems)},
        {"error", inspection.failure ? Json{{"code", code_name(inspection.failure->code())},
                                            {"message", inspection.failure->what()}}
                                     : Json()}};
    // Labels may be any bytes; JSON is UTF-8: what is not becomes U+FFFD.
    return document.dump(2, ' ', false, Json::error_handler_t::replace);
}

}  // namespace dupengine::cli
