// Reads the lists of a profile: [services], [[host]], [[user]], [[file]], roles.

#include <algorithm>
#include <set>

#include "profiles/names.h"
#include "profiles/schema_walk.h"

namespace dupengine::profiles {
namespace {

// The one table of [[host]], [[user]] or [[file]] that is being read. A key that is missing or bad leaves its
// member empty, after a complaint.
struct Fields {
    std::optional<std::string> name, content, mode;
    std::vector<TomlEntry> list;
    TomlPosition name_at;
};

Fields read_fields(SchemaWalk& walk, const TomlNode& table, std::string_view section,
                   std::string_view name_key, const std::vector<std::string_view>& further) {
    Fields fields;
    std::set<std::string_view> missing(further.begin(), further.end());
    missing.erase("mode");
    missing.insert(name_key);
    for (const TomlEntry& entry : table.entries) {
        missing.erase(entry.key);
        if (entry.key == name_key) {
            fields.name = walk.text(entry, kShortText);
            fields.name_at = entry.value.at;
        } else if (std::find(further.begin(), further.end(), entry.key) == further.end()) {
            if (entry.key.starts_with("x-")) continue;
            std::vector<std::string_view> known = further;
            known.push_back(name_key);
            const std::string near = nearest_name(entry.key, known);
            walk.complain(entry.at,
                          fmt::format("unknown key {} in [[{}]]{}", quoted(entry.key), section,
                                      near.empty() ? "" : fmt::format("; did you mean '{}'?", near)));
        } else if (entry.key == "content") {
            fields.content = walk.text(entry, kTomlLimitBytes);
        } else if (entry.key == "mode") {
            fields.mode = walk.text(entry, kShortText);
        } else {
            fields.list = walk.texts(entry);
        }
    }
    for (std::string_view key : missing)
        walk.complain(table.at, fmt::format("[[{}]] needs a {}", section, key));
    return fields;
}

// Whether the name of a [[...]] table is well written and new; complains otherwise.
bool accept_name(SchemaWalk& walk, const Fields& fields, std::string_view section,
                 std::string (*fault_of)(std::string_view)) {
    if (!fields.name) return false;
    const std::string fault = fault_of(*fields.name);
    const std::string key = fmt::format("{}[{}]", section, *fields.name);
    if (!fault.empty()) {
        walk.complain(fields.name_at, fmt::format("{} {} {}", section, quoted(*fields.name), fault));
    } else if (const auto first = walk.given().find(key); first != walk.given().end()) {
        walk.complain(fields.name_at, fmt::format("{} {} was given already in line {}", section,
                                                  quoted(*fields.name), first->second.at.line));
    } else {
        walk.note_given(key, fields.name_at);
        return true;
    }
    return false;
}

std::vector<std::string> checked_list(SchemaWalk& walk, const std::vector<TomlEntry>& list,
                                      std::string_view what, std::string (*fault_of)(std::string_view)) {
    std::vector<std::string> good;
    for (const TomlEntry& entry : list) {
        const std::string& text = entry.value.text;
        const std::string fault = fault_of(text);
        if (!fault.empty())
            walk.complain(entry.at, fmt::format("{} {} {}", what, quoted(text), fault));
        else if (std::count(good.begin(), good.end(), text) != 0)
            walk.complain(entry.at, fmt::format("{} {} is there twice", what, quoted(text)));
        else
            good.push_back(text);
    }
    return good;
}

std::optional<unsigned> file_mode(const std::string& text) {
    const std::string digits = text.starts_with("0") && text.size() > 3 ? text.substr(1) : text;
    if (digits.size() < 3 || digits.size() > 4) return std::nullopt;
    if (digits.find_first_not_of("01234567") != std::string::npos) return std::nullopt;
    return static_cast<unsigned>(std::stoul(digits, nullptr, 8));
}

}  // namespace

void read_units(SchemaWalk& walk, const TomlEntry& entry, std::vector<std::string>& into) {
    for (const TomlEntry& unit : walk.texts(entry)) {
        const std::string name = canonical_unit_name(unit.value.text);
        const std::string fault = unit_name_fault(name);
        if (!fault.empty()) {
            walk.complain(unit.at, fmt::format("unit name {} {}", quoted(unit.value.text), fault));
        } else if (std::count(into.begin(), into.end(), name) != 0) {
            walk.complain(unit.at, fmt::format("unit {} is there twice", quoted(name)));
        } else {
            into.push_back(name);
            walk.note_given(fmt::format("services[{}]", name), unit.at);
        }
    }
}

void check_contradictions(SchemaWalk& walk) {
    const Services& services = walk.profile().services;
    for (const std::string& unit : services.enable) {
        const auto in = [&](const std::vector<std::string>& list) {
            return std::find(list.begin(), list.end(), unit) != list.end();
        };
        if (in(services.disable) || in(services.mask))
            walk.complain(walk.given().at(fmt::format("services[{}]", unit)).at,
                          fmt::format("unit {} is enabled and disabled (or masked) at once", quoted(unit)));
    }
}

void read_hosts(SchemaWalk& walk, const TomlEntry& entry) {
    for (const TomlNode* table : walk.tables(entry)) {
        const Fields fields = read_fields(walk, *table, "host", "address", {"names"});
        const auto names = checked_list(walk, fields.list, "host name", host_name_fault);
        if (!accept_name(walk, fields, "host", address_fault)) continue;
        if (names.empty())
            walk.complain(fields.name_at, fmt::format("host {} has no names", quoted(*fields.name)));
        walk.profile().hosts.push_back({*fields.name, names});
    }
}

void read_users(SchemaWalk& walk, const TomlEntry& entry) {
    for (const TomlNode* table : walk.tables(entry)) {
        const Fields fields = read_fields(walk, *table, "user", "name", {"ssh_authorized_keys"});
        const auto keys = checked_list(walk, fields.list, "key", authorized_key_fault);
        if (accept_name(walk, fields, "user", user_name_fault))
            walk.profile().users.push_back({*fields.name, keys});
    }
}

void read_files(SchemaWalk& walk, const TomlEntry& entry) {
    for (const TomlNode* table : walk.tables(entry)) {
        const Fields fields = read_fields(walk, *table, "file", "path", {"content", "mode"});
        const auto mode = file_mode(fields.mode.value_or("0644"));
        if (!mode)
            walk.complain(fields.name_at,
                          fmt::format("mode {} must be three or four octal digits in quotes, as "
                                      "\"0644\"",
                                      quoted(*fields.mode)));
        if (!accept_name(walk, fields, "file", file_path_fault)) continue;
        walk.profile().files.push_back({*fields.name, fields.content.value_or(""), mode.value_or(0644)});
    }
}

// A path that another one needs as a folder.
void check_nested_paths(SchemaWalk& walk) {
    std::set<std::string> paths;
    for (const File& file : walk.profile().files)
        paths.insert(file.path);
    for (const File& file : walk.profile().files)
        for (std::size_t at = file.path.find('/', 1); at != std::string::npos;
             at = file.path.find('/', at + 1))
            if (paths.contains(file.path.substr(0, at)))
                walk.complain(walk.given().at(fmt::format("file[{}]", file.path)).at,
                              fmt::format("file {} lies in {}, which is a file too", quoted(file.path),
                                          quoted(file.path.substr(0, at))));
}

void read_roles(SchemaWalk& walk, const TomlEntry& entry) {
    walk.profile().roles = checked_list(walk, walk.texts(entry), "role", role_name_fault);
}

}  // namespace dupengine::profiles
