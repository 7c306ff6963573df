#include "profiles/assume_record.h"

#include <nlohmann/json.hpp>

#include "base/bytes.h"
#include "base/error.h"

namespace dupengine::profiles {
namespace {

using nlohmann::json;

// Names and link targets on Linux are any bytes, JSON is UTF-8: what is not plain ASCII is written in
// hexadecimal.
constexpr std::string_view kHex = "hex:";

std::string armored(const std::string& text) {
    const bool plain = std::all_of(text.begin(), text.end(), [](char c) { return c >= ' ' && c <= '~'; });
    return plain && text.rfind(kHex, 0) != 0 ? text : std::string(kHex) + to_hex(as_bytes(text));
}

std::string bare(const std::string& text) {
    return text.rfind(kHex, 0) == 0 ? std::string(as_text(from_hex(text.substr(kHex.size())))) : text;
}

const char* phase_name(AssumePhase phase) {
    switch (phase) {
        case AssumePhase::kApplying:
            return "applying";
        case AssumePhase::kDone:
            return "done";
        case AssumePhase::kUndoing:
            return "undoing";
        case AssumePhase::kUndone:
            return "undone";
    }
    return "applying";
}

AssumePhase phase_of(const std::string& name) {
    for (const AssumePhase phase :
         {AssumePhase::kApplying, AssumePhase::kDone, AssumePhase::kUndoing, AssumePhase::kUndone})
        if (name == phase_name(phase)) return phase;
    throw_error(Code::kIntegrity, "'{}' is no phase", name);
}

json encode_node(const Node& node, const std::string& digest) {
    json value = {{"kind", node_kind_name(node.kind)}};
    if (node.kind == NodeKind::kLink) value["target"] = armored(node.link_target);
    if (node.kind == NodeKind::kLink || !node.exists()) return value;
    value["mode"] = node.mode;
    value["uid"] = node.uid;
    value["gid"] = node.gid;
    if (node.kind != NodeKind::kFile) return value;
    value["sha256"] = digest;
    for (const auto& [key, text] : node.extended_attributes)
        value["attributes"][armored(key)] = to_hex(as_bytes(text));
    return value;
}

NodeKind node_kind_of(const std::string& name) {
    for (const NodeKind kind : {NodeKind::kAbsent, NodeKind::kFile, NodeKind::kLink, NodeKind::kFolder})
        if (name == node_kind_name(kind)) return kind;
    throw_error(Code::kIntegrity, "'{}' is no kind of file", name);
}

Node decode_node(const json& value, std::string& digest) {
    Node node;
    node.kind = node_kind_of(value.at("kind"));
    if (node.kind == NodeKind::kLink) node.link_target = bare(value.at("target"));
    if (node.kind == NodeKind::kLink || !node.exists()) return node;
    node.mode = value.at("mode");
    node.uid = value.at("uid");
    node.gid = value.at("gid");
    if (node.kind != NodeKind::kFile) return node;
    digest = value.at("sha256");
    if (value.contains("attributes"))
        for (const auto& [key, text] : value.at("attributes").items())
            node.extended_attributes[bare(key)] = std::string(as_text(from_hex(text.get<std::string>())));
    return node;
}

json encode_saved(const SavedRename& saved) {
    json value = {{"rename", saved.rename}, {"siblings", json::array()}, {"nodes", json::array()}};
    for (const std::string& name : saved.siblings)
        value["siblings"].push_back(armored(name));
    for (const SavedNode& node : saved.nodes)
        value["nodes"].push_back({{"path", armored(node.path)},
                                  {"kind", node_kind_name(node.kind)},
                                  {"sha256", node.digest},
                                  {"image", node.image}});
    return value;
}

SavedRename decode_saved(const json& value) {
    SavedRename saved;
    saved.rename = value.at("rename");
    for (const json& name : value.at("siblings"))
        saved.siblings.push_back(bare(name));
    for (const json& node : value.at("nodes"))
        saved.nodes.push_back(
            {bare(node.at("path")), node_kind_of(node.at("kind")), node.at("sha256"), node.at("image")});
    return saved;
}

json encode_actions(const AssumeRecord& record) {
    json value = {{"renames", json::array()}, {"puts", json::array()}, {"identifiers", json::array()}};
    for (const RenameAction& rename : record.renames)
        value["renames"].push_back({{"from", armored(rename.from)}, {"to", armored(rename.to)}});
    for (std::size_t i = 0; i < record.puts.size(); ++i)
        value["puts"].push_back({{"path", armored(record.puts[i].path)},
                                 {"before", encode_node(record.puts[i].before, record.digests_before.at(i))},
                                 {"after", encode_node(record.puts[i].after, record.digests_after.at(i))}});
    for (const IdentifierChange& change : record.identifiers)
        value["identifiers"].push_back({{"kind", identifier_kind_name(change.kind)},
                                        {"disk", change.partition.disk},
                                        {"partition", change.partition.number},
                                        {"before", change.before},
                                        {"after", change.after},
                                        {"where", armored(change.where)}});
    return value;
}

PartitionId decode_place(const json& value, const AssumeRecord& record) {
    const std::size_t disk = value.at("disk");
    if (disk >= record.disks.size()) throw_error(Code::kIntegrity, "the journal has no disk {}", disk);
    return {disk, value.at("partition").get<unsigned>()};
}

void decode_actions(const json& value, AssumeRecord& record) {
    for (const json& rename : value.at("renames"))
        record.renames.push_back({bare(rename.at("from")), bare(rename.at("to"))});
    for (const json& put : value.at("puts")) {
        std::string before, after;
        PutAction action{bare(put.at("path")), decode_node(put.at("before"), before),
                         decode_node(put.at("after"), after)};
        record.puts.push_back(std::move(action));
        record.digests_before.push_back(before);
        record.digests_after.push_back(after);
    }
    for (const json& change : value.at("identifiers"))
        record.identifiers.push_back({identifier_kind_of(change.at("kind")), decode_place(change, record),
                                      change.at("before"), change.at("after"), bare(change.at("where"))});
}

}  // namespace

std::string encode_record(const AssumeRecord& record) {
    json value = {{"phase", phase_name(record.phase)},
                  {"node", armored(record.node)},
                  {"generation", record.generation},
                  {"disks", json::array()},
                  {"run", record.run},
                  {"made_folders", record.made_folders},
                  {"remembered", record.remembered},
                  {"left_alone", json::array()},
                  {"saved", json::array()},
                  {"mounts", json::array()},
                  {"actions", encode_actions(record)}};
    for (const RecordedDisk& disk : record.disks)
        value["disks"].push_back(
            {{"name", armored(disk.name)}, {"before", disk.before}, {"after", disk.after}});
    for (const SavedRename& saved : record.saved)
        value["saved"].push_back(encode_saved(saved));
    for (const std::string& path : record.left_alone)
        value["left_alone"].push_back(armored(path));
    for (const MountPoint& mount : record.mounts)
        value["mounts"].push_back({{"path", armored(mount.path)},
                                   {"disk", mount.partition.disk},
                                   {"partition", mount.partition.number}});
    return value.dump(1) + "\n";
}

AssumeRecord decode_record(const std::string& text) {
    try {
        const json value = json::parse(text);
        AssumeRecord record;
        record.phase = phase_of(value.at("phase"));
        record.node = bare(value.at("node"));
        record.generation = value.at("generation");
        for (const json& disk : value.at("disks"))
            record.disks.push_back({bare(disk.at("name")), disk.at("before"), disk.at("after")});
        record.run = value.at("run");
        record.made_folders = value.at("made_folders").get<std::vector<std::string>>();
        record.remembered = value.at("remembered").get<std::map<std::string, std::string>>();
        for (const json& saved : value.value("saved", json::array()))
            record.saved.push_back(decode_saved(saved));
        for (const json& path : value.value("left_alone", json::array()))
            record.left_alone.insert(bare(path));
        for (const json& mount : value.at("mounts"))
            record.mounts.push_back({bare(mount.at("path")), decode_place(mount, record)});
        decode_actions(value.at("actions"), record);
        return record;
    } catch (const json::exception& e) {
        throw_error(Code::kIntegrity, "the journal cannot be read: {}", e.what());
    }
}

ForeignClaim read_foreign_claim(const std::string& text) {
    const json value = json::parse(text, nullptr, false);
    ForeignClaim claim;
    if (!value.is_object()) return claim;
    claim.unfinished =
        value.contains("phase") && (value["phase"] == "applying" || value["phase"] == "undoing");
    if (value.contains("node") && value["node"].is_string())
        claim.node = value["node"].get<std::string>().substr(0, 64);
    return claim;
}

}  // namespace dupengine::profiles
