#include <algorithm>
#include <nlohmann/json.hpp>

#include "cli/copy_view.h"

namespace dupengine::cli {
namespace {

using Json = nlohmann::ordered_json;

Json extent_json(block::Extent extent) {
    return {{"begin", extent.begin}, {"end", extent.end}};
}

const char* unused_name(engine::Unused unused) {
    switch (unused) {
        case engine::Unused::kDiscard:
            return "discard";
        case engine::Unused::kZero:
            return "zero";
        case engine::Unused::kKeep:
            return "keep";
    }
    return "";
}

const char* verify_name(engine::Verify verify) {
    switch (verify) {
        case engine::Verify::kAll:
            return "all";
        case engine::Verify::kUsed:
            return "used";
        case engine::Verify::kNone:
            return "none";
    }
    return "";
}

Json partition_json(const engine::CopyPlan& plan, const layout::Partition& p) {
    const bool kept = std::any_of(plan.kept.begin(), plan.kept.end(),
                                  [&](const engine::Kept& k) { return k.extent == p.extent; });
    const auto* described = plan.source.by_number(p.number);
    Json json = {{"number", p.number},
                 {"extent", extent_json(p.extent)},
                 {"partlabel", p.name},
                 {"action", kept ? "keep" : "copy"},
                 {"bytes_copied", kept ? 0 : plan.data.clipped_to(p.extent).total_bytes()}};
    if (plan.table.kind == layout::TableKind::kGpt) {
        json["type_guid"] = p.type_guid.text();
        json["partuuid"] = p.guid.text();
    }
    if (!kept && described != nullptr) {
        if (described->signature) json["filesystem"] = described->signature->type;
        json["whole"] = described->used.whole;
        if (described->used.whole) json["whole_reason"] = described->used.reason;
    }
    return json;
}

Json plan_json(const engine::CopyPlan& plan) {
    Json partitions = Json::array();
    for (const auto& p : plan.table.partitions)
        partitions.push_back(partition_json(plan, p));
    Json kept = Json::array();
    for (const auto& k : plan.kept)
        kept.push_back({{"name", k.name}, {"extent", extent_json(k.extent)}});
    Json json = {{"source_bytes", plan.source.geometry.size_bytes},
                 {"target_bytes", plan.target.geometry.size_bytes},
                 {"sector_bytes", plan.sector_bytes},
                 {"table", layout::table_kind_name(plan.table.kind)},
                 {"partitions", partitions},
                 {"protected", kept},
                 {"bytes_to_copy", plan.bytes_used},
                 {"bytes_to_zero", plan.zero.total_bytes()},
                 {"unused", unused_name(plan.options.unused)},
                 {"delta", plan.delta},
                 {"bytes_to_resume", plan.journal ? plan.journal->bytes_named : 0},
                 {"verify", verify_name(plan.options.verify)}};
    if (plan.grow)
        json["grow"] = {{"partition", plan.grow->partition},
                        {"from_bytes", plan.grow->before.size()},
                        {"to_bytes", plan.grow->after.size()},
                        {"filesystem", plan.grow->filesystem}};
    if (plan.grow && plan.grow->swap)
        json["grow"]["swap"] = {{"partition", plan.grow->swap->partition},
                                {"from", extent_json(plan.grow->swap->before)},
                                {"to", extent_json(plan.grow->swap->after)}};
    json["notes"] = plan.notes;
    return json;
}

Json bad_sectors_json(const engine::PartitionPlaces& places) {
    Json json = {{"partition", places.partition},
                 {"filesystem", places.filesystem},
                 {"bytes", places.extents.total_bytes()},
                 {"extents", Json::array()},
                 {"files", Json::array()}};
    for (block::Extent e : places.extents)
        json["extents"].push_back(extent_json(e));
    for (const layout::FileOwner& file : places.owners.files)
        json["files"].push_back(file.path);
    return json;
}

// What could not be read cannot be verified either.
const char* result_name(const engine::CopyPlan& plan, const engine::CopyReport* report) {
    if (report == nullptr) return "planned";
    if (!report->bad_sectors.empty()) return "bad sectors";
    return plan.options.verify != engine::Verify::kNone ? "verified" : "unverified";
}

void add_report(Json& json, const engine::CopyReport& report) {
    json["bytes_used"] = report.bytes_used;
    json["bytes_read"] = report.bytes_read;
    json["bytes_equal"] = report.bytes_equal;
    json["bytes_resumed"] = report.bytes_resumed;
    json["bytes_written"] = report.bytes_written;
    json["bytes_zeroed"] = report.bytes_zeroed;
    json["bytes_verified"] = report.bytes_verified;
    json["seconds"] = report.seconds;
    if (!report.round_bytes.empty()) json["round_bytes"] = report.round_bytes;
    json["notes"] = report.notes;
    json["bad_sectors"] = Json::array();
    for (const engine::PartitionPlaces& places : report.bad_sectors)
        json["bad_sectors"].push_back(bad_sectors_json(places));
    json["protected"] = Json::array();
    for (const auto& p : report.protected_regions)
        json["protected"].push_back({{"name", p.name},
                                     {"extent", extent_json(p.extent)},
                                     {"sha256_before", to_hex(p.before)},
                                     {"sha256_after", to_hex(p.after)}});
}

Json disk_json(const engine::CopyPlan& plan, const engine::CopyReport* report) {
    Json json = {
        {"result", result_name(plan, report)}, {"source", plan.source.name}, {"target", plan.target.name}};
    if (report != nullptr) add_report(json, *report);
    json["plan"] = plan_json(plan);
    return json;
}

// The least that is true of all disks.
std::string result_of_all(const Json& disks) {
    std::string result = disks.front()["result"];
    for (const Json& disk : disks)
        if (disk["result"] == "bad sectors") result = disk["result"];
    return result;
}

Json set_json(const Json& disks) {
    double seconds = 0;
    for (const Json& disk : disks)
        seconds += disk.value("seconds", 0.0);
    Json json = {{"result", result_of_all(disks)}};
    if (disks.front().contains("seconds")) json["seconds"] = seconds;
    json["disks"] = disks;
    return json;
}

}  // namespace

std::string copy_json(std::span<const engine::CopyPlan> plans, std::span<const engine::CopyReport> reports,
                      ReportForm form) {
    Json disks = Json::array();
    for (std::size_t i = 0; i < plans.size(); ++i)
        disks.push_back(disk_json(plans[i], reports.empty() ? nullptr : &reports[i]));
    const Json json = form == ReportForm::kSet ? set_json(disks) : disks.front();
    // Labels come from disks and may be any bytes: what is not UTF-8 is replaced, not refused.
    return json.dump(2, ' ', false, Json::error_handler_t::replace);
}

}  // namespace dupengine::cli
