#include "profiles/schema.h"

#include <algorithm>
#include <array>

#include "profiles/names.h"
#include "profiles/schema_walk.h"

namespace dupengine::profiles {
namespace {

using Walk = SchemaWalk;
using Key = SchemaWalk::Key;

// -- one table of known keys per section; dupengine-profile(5) has the same list
// -----------------------------------

constexpr std::array<Key, 5> kIdentityKeys = {{{"hostname", read_item},
                                               {"machine_id", read_item},
                                               {"ssh_host_keys", read_ssh_host_keys},
                                               {"random_seed", read_item},
                                               {"enrolment", read_item}}};

constexpr std::array<Key, 4> kStorageKeys = {
    {{"disk_guid", read_item}, {"part_guid", read_item}, {"fs_uuid", read_item}, {"swap_uuid", read_item}}};

constexpr std::array<Key, 3> kServicesKeys = {
    {{"enable", [](Walk& w, const TomlEntry& e) { read_units(w, e, w.profile().services.enable); }},
     {"disable", [](Walk& w, const TomlEntry& e) { read_units(w, e, w.profile().services.disable); }},
     {"mask", [](Walk& w, const TomlEntry& e) { read_units(w, e, w.profile().services.mask); }}}};

template <const auto& kKeys>
void read_section(Walk& walk, const TomlEntry& entry) {
    const std::string shown = fmt::format("[{}]", entry.key);
    if (walk.is(entry, TomlNode::Kind::kTable, fmt::format("a table, written as {}", shown)))
        walk.section(entry.value, kKeys, shown);
}

void read_schema(Walk& walk, const TomlEntry& entry) {
    const auto version = walk.number(entry);
    if (version && *version != 1)
        walk.complain(entry.value.at,
                      fmt::format("schema {} is not known to this program; it knows 1", *version));
}

void read_kind(Walk& walk, const TomlEntry& entry) {
    const auto word = walk.text(entry, kShortText);
    if (!word) return;
    if (*word != "node" && *word != "role")
        walk.complain(entry.value.at, fmt::format("kind {} is not known; node and role are", quoted(*word)));
    walk.profile().kind = *word == "role" ? Kind::kRole : Kind::kNode;
}

void read_generation(Walk& walk, const TomlEntry& entry) {
    const auto number = walk.number(entry);
    if (number && *number == 0) walk.complain(entry.value.at, "generation begins with 1");
    if (number) walk.profile().generation = *number;
}

std::string description_fault(std::string_view text) {
    const bool control = std::any_of(
        text.begin(), text.end(), [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; });
    return control ? "must be one line" : "";
}

template <std::string Profile::*kMember, std::string (*kFault)(std::string_view)>
void read_name(Walk& walk, const TomlEntry& entry) {
    const auto text = walk.text(entry, kShortText);
    if (!text) return;
    const std::string fault = kFault(*text);
    if (!fault.empty())
        walk.complain(entry.value.at, fmt::format("{} {} {}", entry.key, quoted(*text), fault));
    walk.profile().*kMember = *text;
}

constexpr std::array<Key, 15> kTopKeys = {
    {{"schema", read_schema},
     {"kind", read_kind},
     {"generation", read_generation},
     {"node", read_name<&Profile::node, host_name_fault>},
     {"role", read_name<&Profile::role, role_name_fault>},
     {"roles", read_roles},
     {"description", read_name<&Profile::description, description_fault>},
     {"identity", read_section<kIdentityKeys>},
     {"storage", read_section<kStorageKeys>},
     {"services", read_section<kServicesKeys>},
     {"boot", read_boot},
     {"host", read_hosts},
     {"user", read_users},
     {"file", read_files},
     {"link", read_links}}};

// -- rules about the whole
// ------------------------------------------------------------------------------------------

void need(Walk& walk, const char* key, const char* example) {
    if (!walk.given().contains(key)) walk.complain({}, fmt::format("{} is missing, as in {}", key, example));
}

void refuse(Walk& walk, const char* key, const char* why) {
    const auto found = walk.given().find(key);
    if (found != walk.given().end()) walk.complain(found->second.at, fmt::format("{} {}", key, why));
}

void check_kind(Walk& walk) {
    need(walk, "schema", "schema = 1");
    need(walk, "kind", "kind = \"node\"");
    if (walk.profile().kind == Kind::kNode) {
        need(walk, "node", "node = \"rack3-n07\"");
        return refuse(walk, "role",
                      "belongs into a file of kind \"role\"; a node names its roles in 'roles'");
    }
    need(walk, "role", "role = \"web\"");
    refuse(walk, "node", "does not belong into a role");
    refuse(walk, "generation", "does not belong into a role");
    refuse(walk, "boot", "does not belong into a role: firmware reads the node's file alone");
    refuse(walk, "roles", "does not belong into a role: roles do not name other roles");
    check_nothing_set(walk);
    check_links_of_role(walk);
}

}  // namespace

std::string Origin::text() const {
    return fmt::format("{}:{}", file, at.line);
}

std::string Problem::text() const {
    return fmt::format("{}:{}:{}: {}", origin.file, origin.at.line, origin.at.column, message);
}

const char* mode_name(Mode mode) {
    switch (mode) {
        case Mode::kIgnore:
            return "ignore";
        case Mode::kSet:
            return "set";
        case Mode::kDerive:
            return "derive";
        case Mode::kRegenerate:
            return "regenerate";
        case Mode::kRemove:
            return "remove";
    }
    return "ignore";
}

CheckedProfile check_profile(std::string_view text, const std::string& file) {
    CheckedProfile result;
    SchemaWalk walk(result, file);
    TomlNode root;
    TomlFault fault;
    if (!parse_toml(text, root, fault)) {
        walk.complain(fault.at, fault.message);
        return result;
    }
    for (const TomlEntry& entry : root.entries)
        walk.note_given(entry.key, entry.at);
    walk.section(root, kTopKeys, "");
    check_kind(walk);
    check_contradictions(walk);
    check_nested_paths(walk);
    std::stable_sort(result.problems.begin(), result.problems.end(),
                     [](const Problem& a, const Problem& b) { return a.origin.at < b.origin.at; });
    return result;
}

Layer parse_layer(std::string_view text, const std::string& file) {
    CheckedProfile checked = check_profile(text, file);
    if (checked.problems.empty()) return std::move(checked.layer);
    const std::size_t further = checked.problems.size() - 1;
    throw_error(Code::kUsage, "{}{}", checked.problems[0].text(),
                further == 0 ? "" : fmt::format(" (and {} more)", further));
}

Profile parse_profile(std::string_view text, const std::string& file) {
    return parse_layer(text, file).profile;
}

}  // namespace dupengine::profiles
