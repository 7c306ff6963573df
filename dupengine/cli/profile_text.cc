#include "cli/profile_text.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "codec/digest.h"

namespace dupengine::cli {
namespace {

using nlohmann::ordered_json;
using profiles::Slots;
using profiles::SlotState;

const char* state_name(SlotState state) {
    switch (state) {
        case SlotState::kGood:
            return "good";
        case SlotState::kBlank:
            return "blank";
        case SlotState::kForeign:
            return "foreign";
        case SlotState::kUnreadable:
            return "unreadable";
        case SlotState::kDamaged:
            return "damaged";
    }
    return "damaged";
}

ordered_json item_json(const profiles::Item& item) {
    ordered_json json = {{"mode", profiles::mode_name(item.mode)}};
    if (item.mode == profiles::Mode::kSet) json["value"] = item.value;
    return json;
}

}  // namespace

// What is not given is not there.
ordered_json boot_json(const profiles::Boot& boot) {
    ordered_json json = ordered_json::object();
    const auto put = [&](const char* key, const std::string& value) {
        if (!value.empty()) json[key] = value;
    };
    put("choice", boot.choice);
    if (boot.timeout_seconds) json["timeout"] = *boot.timeout_seconds;
    put("partition", boot.partition);
    put("loader", boot.loader);
    put("kernel", boot.kernel);
    put("initrd", boot.initrd);
    put("command_line", boot.command_line);
    put("receive_disk", boot.receive_disk);
    put("restore_from", boot.restore_from);
    put("fallback", boot.fallback);
    put("duplicate_from", boot.duplicate_from);
    put("report_to", boot.report_to);
    if (boot.tries) json["tries"] = *boot.tries;
    return json;
}

ordered_json profile_json(const profiles::Profile& profile) {
    ordered_json json = {{"schema", profile.schema},
                         {"kind", profile.kind == profiles::Kind::kNode ? "node" : "role"},
                         {"generation", profile.generation}};
    if (profile.kind == profiles::Kind::kNode) {
        json["node"] = profile.node;
        json["roles"] = profile.roles;
    } else {
        json["role"] = profile.role;
    }
    json["description"] = profile.description;
    json["identity"] = {
        {"hostname", item_json(profile.hostname)},
        {"machine_id", item_json(profile.machine_id)},
        {"ssh_host_keys",
         {{"mode", profiles::mode_name(profile.ssh_host_keys.mode)}, {"types", profile.ssh_host_keys.types}}},
        {"random_seed", item_json(profile.random_seed)},
        {"enrolment", item_json(profile.enrolment)}};
    json["storage"] = {{"disk_guid", item_json(profile.disk_guid)},
                       {"part_guid", item_json(profile.part_guid)},
                       {"fs_uuid", item_json(profile.fs_uuid)},
                       {"swap_uuid", item_json(profile.swap_uuid)}};
    json["services"] = {{"enable", profile.services.enable},
                        {"disable", profile.services.disable},
                        {"mask", profile.services.mask}};
    if (profile.kind == profiles::Kind::kNode) json["boot"] = boot_json(profile.boot);
    json["host"] = ordered_json::array();
    for (const auto& host : profile.hosts)
        json["host"].push_back({{"address", host.address}, {"names", host.names}});
    json["user"] = ordered_json::array();
    for (const auto& user : profile.users)
        json["user"].push_back({{"name", user.name}, {"ssh_authorized_keys", user.ssh_authorized_keys}});
    json["link"] = ordered_json::array();
    for (const auto& link : profile.links) {
        json["link"].push_back({{"name", link.name},
                                {"mac", item_json(link.mac)},
                                {"dhcp", link.dhcp},
                                {"addresses", link.addresses},
                                {"gateways", link.gateways},
                                {"dns", link.dns},
                                {"up", link.up}});
        if (link.mtu) json["link"].back()["mtu"] = *link.mtu;
    }
    json["file"] = ordered_json::array();
    for (const auto& file : profile.files)
        json["file"].push_back({{"path", file.path},
                                {"mode", fmt::format("{:04o}", file.mode)},
                                {"size_bytes", file.content.size()},
                                {"sha256", to_hex(codec::sha256(as_bytes(file.content)))}});
    return json;
}

ordered_json slots_json(const Slots& slots) {
    ordered_json json = ordered_json::array();
    for (const Slots::Slot& slot : slots.slots) {
        ordered_json one = {{"state", state_name(slot.state)}};
        if (slot.state == SlotState::kGood)
            one["generation"] = slot.generation;
        else
            one["reason"] = slot.reason;
        json.push_back(std::move(one));
    }
    return json;
}

ordered_json explain_json(const std::vector<profiles::Explained>& lines) {
    ordered_json json = ordered_json::array();
    for (const auto& line : lines)
        json.push_back({{"key", line.key},
                        {"value", line.value},
                        {"file", line.origin.file},
                        {"line", line.origin.at.line}});
    return json;
}

ordered_json problems_json(const std::vector<profiles::Problem>& problems) {
    ordered_json json = ordered_json::array();
    for (const auto& problem : problems)
        json.push_back({{"line", problem.origin.at.line},
                        {"column", problem.origin.at.column},
                        {"message", problem.message}});
    return json;
}

std::string explain_text(const std::vector<profiles::Explained>& lines) {
    std::size_t key_width = 0, value_width = 0;
    for (const auto& line : lines) {
        key_width = std::max(key_width, line.key.size());
        value_width = std::max(value_width, line.value.size());
    }
    std::string text;
    for (const auto& line : lines)
        text += fmt::format("{:<{}}  {:<{}}  {}\n", line.key, key_width, line.value, value_width,
                            line.origin.text());
    return text;
}

std::string slots_warning(const Slots& slots, const std::string& store) {
    if (!slots.newest) return {};
    const Slots::Slot& other = slots.slots[1 - slots.newest_slot];
    if (other.state == SlotState::kGood || other.state == SlotState::kBlank) return {};
    return fmt::format("{}: slot {} cannot be used ({}); if it was the newer one, an older profile is shown",
                       store, 1 - slots.newest_slot, other.reason);
}

}  // namespace dupengine::cli
