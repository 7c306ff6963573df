// Reads the personality items of [identity] and [storage]: which modes each takes, what a set value looks
// like.

#include <algorithm>

#include "base/guid.h"
#include "profiles/names.h"
#include "profiles/schema_walk.h"

namespace dupengine::profiles {
namespace {

std::string machine_id_fault(std::string_view text) {
    const bool hex =
        text.size() == 32 && text.find_first_not_of("0123456789abcdef") == std::string_view::npos;
    if (!hex) return "must be 32 hexadecimal digits in lower case (machine-id(5))";
    return text.find_first_not_of('0') == std::string_view::npos ? "may not be all zeros" : "";
}

std::string disk_guid_fault(std::string_view text) {
    if (text.size() == 8 && text.find_first_not_of("0123456789abcdef") == std::string_view::npos) return {};
    try {
        return Guid::parse(text).is_null() ? "may not be all zeros" : "";
    } catch (const Error&) {
        return "must be a GUID (8-4-4-4-12 hexadecimal digits), or for an MBR 8 hexadecimal digits in lower "
               "case";
    }
}

struct ItemRule {
    std::string_view section, name;
    Item Profile::*member;
    std::vector<Mode> modes;
    std::string (*value_fault)(std::string_view);  // where modes has kSet
};

const std::vector<ItemRule>& item_rules() {
    using enum Mode;
    static const std::vector<ItemRule> rules = {
        {"identity", "hostname", &Profile::hostname, {kSet, kIgnore}, host_name_fault},
        {"identity",
         "machine_id",
         &Profile::machine_id,
         {kSet, kDerive, kRegenerate, kRemove, kIgnore},
         machine_id_fault},
        {"identity", "random_seed", &Profile::random_seed, {kRegenerate, kRemove, kIgnore}, nullptr},
        {"identity", "enrolment", &Profile::enrolment, {kRemove, kIgnore}, nullptr},
        {"storage", "disk_guid", &Profile::disk_guid, {kSet, kDerive, kRegenerate, kIgnore}, disk_guid_fault},
        // One value cannot serve several partitions, so these are never set.
        {"storage", "part_guid", &Profile::part_guid, {kDerive, kRegenerate, kIgnore}, nullptr},
        {"storage", "fs_uuid", &Profile::fs_uuid, {kDerive, kRegenerate, kIgnore}, nullptr},
        {"storage", "swap_uuid", &Profile::swap_uuid, {kDerive, kRegenerate, kIgnore}, nullptr},
    };
    return rules;
}

std::string list_of(const std::vector<Mode>& modes) {
    std::string text;
    for (Mode mode : modes)
        text += (text.empty() ? "" : ", ") + std::string(mode_name(mode));
    return text;
}

std::optional<Mode> read_mode(SchemaWalk& walk, const TomlEntry& item, const TomlEntry& entry,
                              const std::vector<Mode>& modes) {
    const auto word = walk.text(entry, kShortText);
    if (!word) return std::nullopt;
    for (Mode mode : modes)
        if (*word == mode_name(mode)) return mode;
    const char* hint = *word == "keep" ? " (to keep a value over every duplication, derive or set it)" : "";
    walk.complain(entry.value.at, fmt::format("{} has no mode {}{}; it takes {}", item.key, quoted(*word),
                                              hint, list_of(modes)));
    return std::nullopt;
}

// The entries that an item's inline table may have; the others are refused.
struct ItemEntries {
    const TomlEntry* mode = nullptr;
    const TomlEntry* further = nullptr;
};

ItemEntries item_entries(SchemaWalk& walk, const TomlEntry& item, std::string_view further) {
    ItemEntries found;
    for (const TomlEntry& entry : item.value.entries) {
        if (entry.key == "mode") {
            found.mode = &entry;
        } else if (!further.empty() && entry.key == further) {
            found.further = &entry;
        } else if (!entry.key.starts_with("x-")) {
            walk.complain(entry.at,
                          fmt::format("unknown key {} in {}; it takes 'mode'{}", quoted(entry.key), item.key,
                                      further.empty() ? "" : fmt::format(" and '{}'", further)));
        }
    }
    if (found.mode == nullptr)
        walk.complain(item.value.at, fmt::format("{} needs a mode, as in {{ mode = \"derive\" }}", item.key));
    return found;
}

void set_item(SchemaWalk& walk, const TomlEntry& value, std::string_view name, Item& into,
              std::string (*value_fault)(std::string_view)) {
    const auto text = walk.text(value, kShortText);
    if (!text) return;
    const std::string fault = value_fault(*text);
    if (!fault.empty())
        return walk.complain(value.value.at, fmt::format("{} {} {}", name, quoted(*text), fault));
    into = {Mode::kSet, *text};
}

}  // namespace

void read_item_into(SchemaWalk& walk, const TomlEntry& item, Item& into, const std::vector<Mode>& modes,
                    std::string (*value_fault)(std::string_view)) {
    const bool settable = value_fault != nullptr;
    if (item.value.kind == TomlNode::Kind::kString && settable)
        return set_item(walk, item, item.key, into, value_fault);
    if (!walk.is(item, TomlNode::Kind::kTable, settable ? "a string or { mode = ... }" : "{ mode = ... }"))
        return;
    const ItemEntries entries = item_entries(walk, item, settable ? "value" : "");
    if (entries.mode == nullptr) return;
    const auto mode = read_mode(walk, item, *entries.mode, modes);
    if (!mode) return;
    if (*mode == Mode::kSet && entries.further == nullptr)
        return walk.complain(item.value.at, fmt::format("{}: mode \"set\" needs a value", item.key));
    if (*mode != Mode::kSet && entries.further != nullptr)
        return walk.complain(entries.further->at,
                             fmt::format("{}: only mode \"set\" takes a value", item.key));
    if (*mode == Mode::kSet) return set_item(walk, *entries.further, item.key, into, value_fault);
    into = {*mode, {}};
}

void read_item(SchemaWalk& walk, const TomlEntry& item) {
    for (const ItemRule& rule : item_rules())
        if (rule.name == item.key) {
            walk.note_given(fmt::format("{}.{}", rule.section, rule.name), item.at);
            return read_item_into(walk, item, walk.profile().*rule.member, rule.modes, rule.value_fault);
        }
    throw_error(Code::kInternal, "the schema has no rule for {}", item.key);
}

void read_ssh_host_keys(SchemaWalk& walk, const TomlEntry& item) {
    walk.note_given("identity.ssh_host_keys", item.at);
    if (!walk.is(item, TomlNode::Kind::kTable, "{ mode = ... }")) return;
    const ItemEntries entries = item_entries(walk, item, "types");
    SshHostKeys& keys = walk.profile().ssh_host_keys;
    if (entries.mode != nullptr) {
        const auto mode = read_mode(walk, item, *entries.mode,
                                    {Mode::kDerive, Mode::kRegenerate, Mode::kRemove, Mode::kIgnore});
        if (mode) keys.mode = *mode;
    }
    if (entries.further == nullptr) return;
    keys.types.clear();
    for (const TomlEntry& type : walk.texts(*entries.further)) {
        const std::string& name = type.value.text;
        if (name != "ed25519" && name != "ecdsa" && name != "rsa")
            walk.complain(type.at,
                          fmt::format("{} is no type of host key; ed25519, ecdsa, rsa are", quoted(name)));
        else if (name == "rsa" && keys.mode == Mode::kDerive)
            walk.complain(type.at, "an rsa key cannot be derived; regenerate it, or leave rsa out");
        else if (std::count(keys.types.begin(), keys.types.end(), name) != 0)
            walk.complain(type.at, fmt::format("{} is there twice", quoted(name)));
        else
            keys.types.push_back(name);
    }
    if (entries.further->value.items.empty() && entries.further->value.kind == TomlNode::Kind::kArray)
        walk.complain(entries.further->at, "types may not be empty; mode \"remove\" takes all keys away");
}

void check_nothing_set(SchemaWalk& walk) {
    for (const ItemRule& rule : item_rules())
        if ((walk.profile().*rule.member).mode == Mode::kSet)
            walk.complain(
                walk.given().at(fmt::format("{}.{}", rule.section, rule.name)).at,
                fmt::format("{} may not be set in a role: every node with this role would be the same; "
                            "derive it",
                            rule.name));
}

}  // namespace dupengine::profiles
