#include "profiles/items/unit_files.h"

#include <algorithm>
#include <array>

#include "base/error.h"

namespace dupengine::profiles {
namespace {

constexpr std::array kSuffixes = {".service",   ".socket", ".target", ".timer",  ".path", ".mount",
                                  ".automount", ".swap",   ".slice",  ".device", ".scope"};
// systemd's search path (systemd.unit(5)) without what exists only at run time.
constexpr std::array kFolders = {kUnitConfiguration, "/usr/local/lib/systemd/system", "/lib/systemd/system",
                                 "/usr/lib/systemd/system"};
constexpr std::array kDependencyFolders = {".wants", ".requires", ".upholds"};

struct NameParts {
    std::string prefix, instance, suffix;  // "getty", "tty1", ".service"
    bool has_at = false;
};

NameParts split_name(const std::string& name) {
    NameParts parts;
    const std::size_t dot = name.rfind('.'), at = name.find('@');
    parts.suffix = name.substr(dot);
    parts.has_at = at != std::string::npos && at < dot;
    parts.prefix = name.substr(0, parts.has_at ? at : dot);
    if (parts.has_at) parts.instance = name.substr(at + 1, dot - at - 1);
    return parts;
}

std::string template_of(const std::string& name) {
    const NameParts parts = split_name(name);
    return parts.prefix + "@" + parts.suffix;
}

std::string trimmed(const std::string& text) {
    const std::size_t begin = text.find_first_not_of(" \t\r");
    return begin == std::string::npos ? "" : text.substr(begin, text.find_last_not_of(" \t\r") - begin + 1);
}

// Logical lines: a backslash at the end joins the next one; comments are dropped.
std::vector<std::string> lines_of(const std::string& text) {
    std::vector<std::string> lines;
    std::string pending;
    for (std::size_t begin = 0; begin < text.size();) {
        const std::size_t end = std::min(text.find('\n', begin), text.size());
        std::string line = trimmed(text.substr(begin, end - begin));
        begin = end + 1;
        if (!line.empty() && (line.front() == '#' || line.front() == ';')) continue;
        const bool goes_on = !line.empty() && line.back() == '\\';
        if (goes_on) line.back() = ' ';
        pending += line;
        if (goes_on) continue;
        lines.push_back(std::move(pending));
        pending.clear();
    }
    if (!pending.empty()) lines.push_back(pending);
    return lines;
}

void add_words(std::vector<std::string>& list, const std::string& value) {
    if (value.empty()) list.clear();  // an empty assignment takes back what was said before
    for (std::size_t at = 0; (at = value.find_first_not_of(" \t", at)) != std::string::npos;) {
        const std::size_t end = std::min(value.find_first_of(" \t", at), value.size());
        list.push_back(value.substr(at, end - at));
        at = end;
    }
}

std::string expand(const std::string& text, const std::string& name) {
    const NameParts parts = split_name(name);
    std::string result;
    for (std::size_t i = 0; i < text.size(); ++i) {
        if (text[i] != '%' || i + 1 == text.size()) {
            result += text[i];
            continue;
        }
        switch (text[++i]) {
            case '%':
                result += '%';
                break;
            case 'i':
                result += parts.instance;
                break;
            case 'n':
                result += name;
                break;
            case 'N':
                result += name.substr(0, name.rfind('.'));
                break;
            case 'p':
                result += parts.prefix;
                break;
            case 'j':
                result += parts.prefix.substr(parts.prefix.rfind('-') + 1);
                break;
            default:
                throw_error(Code::kRefused,
                            "unit {}: its [Install] says '{}', and %{} is known only to a running system",
                            name, text, text[i]);
        }
    }
    return result;
}

bool is_null_link(const Node& node) {
    return node.kind == NodeKind::kLink && node.link_target == "/dev/null";
}

void read_install(const std::string& text, UnitInstall& install) {
    const std::map<std::string, std::vector<std::string>*> lists = {{"WantedBy", &install.wanted_by},
                                                                    {"RequiredBy", &install.required_by},
                                                                    {"UpheldBy", &install.upheld_by},
                                                                    {"Alias", &install.alias},
                                                                    {"Also", &install.also}};
    bool inside = false;
    for (const std::string& line : lines_of(text)) {
        if (line.empty()) continue;
        if (line.front() == '[') {
            inside = line == "[Install]";
            continue;
        }
        const std::size_t equals = line.find('=');
        if (!inside || equals == std::string::npos) continue;
        const std::string key = trimmed(line.substr(0, equals)), value = trimmed(line.substr(equals + 1));
        if (key == "DefaultInstance") install.default_instance = value;
        const auto list = lists.find(key);
        if (list != lists.end()) add_words(*list->second, value);
    }
}

// NAME.d/*.conf of all folders in the order of their names; of two with one name, that of the earlier folder.
void read_drop_ins(const Tree& tree, const std::string& name, UnitInstall& install) {
    std::vector<std::string> units = {name};
    if (split_name(name).has_at && template_of(name) != name) units.insert(units.begin(), template_of(name));
    for (const std::string& unit : units) {
        std::map<std::string, std::string> files;
        for (const char* folder : kFolders) {
            const std::string place = resolve(tree, join(folder, unit + ".d"));
            for (const std::string& file : tree.list(place))
                if (file.ends_with(".conf")) files.emplace(file, join(place, file));
        }
        for (const auto& [file, path] : files)
            read_install(read_text(tree, path), install);
    }
}

}  // namespace

std::string unit_name(const std::string& name) {
    for (const std::string_view suffix : kSuffixes)
        if (name.ends_with(suffix) && name.size() > suffix.size()) return name;
    return name + ".service";
}

UnitInstall parse_install(const std::string& text) {
    UnitInstall install;
    read_install(text, install);
    return install;
}

std::optional<UnitFile> find_unit(const Tree& tree, const std::string& name) {
    std::vector<std::string> candidates = {name};
    if (split_name(name).has_at && template_of(name) != name) candidates.push_back(template_of(name));
    for (const std::string& candidate : candidates)
        for (const char* folder : kFolders) {
            const std::string path = join(folder, candidate);
            const Node node = tree.look(resolve(tree, path, LastLink::kKeep));
            if (!node.exists()) continue;
            UnitFile unit{candidate, path, is_null_link(node), {}};
            if (unit.masked) return unit;
            const std::string place = resolve(tree, path);
            const Node file = tree.take(place);
            if (file.kind != NodeKind::kFile) continue;  // a link that leads nowhere
            unit.masked = file.content->empty();
            // A link between unit folders is an alias; one to elsewhere is how a unit is linked in, under its
            // own name.
            if (node.kind == NodeKind::kLink && leaf_of(place) != candidate &&
                split_name(leaf_of(place)).has_at == split_name(candidate).has_at) {
                unit.name = leaf_of(place);
                unit.path =
                    join(parent_of(node.link_target.front() == '/' ? node.link_target : path), unit.name);
            }
            unit.install = parse_install(*file.content);
            read_drop_ins(tree, name, unit.install);
            return unit;
        }
    return std::nullopt;
}

std::map<std::string, std::string> links_of(const UnitFile& unit, const std::string& name) {
    std::string own = name;
    const NameParts parts = split_name(own);
    if (parts.has_at && parts.instance.empty()) {
        if (unit.install.default_instance.empty()) return {};
        own = parts.prefix + "@" + expand(unit.install.default_instance, name) + parts.suffix;
    }
    std::map<std::string, std::string> links;
    const auto add = [&](const std::vector<std::string>& by, const char* folder) {
        for (const std::string& other : by)
            links[fmt::format("{}/{}{}/{}", kUnitConfiguration, expand(other, own), folder, own)] = unit.path;
    };
    add(unit.install.wanted_by, kDependencyFolders[0]);
    add(unit.install.required_by, kDependencyFolders[1]);
    add(unit.install.upheld_by, kDependencyFolders[2]);
    for (const std::string& alias : unit.install.alias)
        links[join(kUnitConfiguration, expand(alias, own))] = unit.path;
    return links;
}

std::vector<std::string> enabling_links(const Tree& tree, std::vector<std::string> names,
                                        const char* folder_of_links) {
    std::vector<std::string> found;
    const auto belongs = [&](const std::string& path) {
        const Node node = tree.look(path);
        if (node.kind != NodeKind::kLink || is_null_link(node)) return false;
        const auto known = [&](const std::string& name) {
            return std::find(names.begin(), names.end(), name) != names.end();
        };
        return known(leaf_of(path)) || known(leaf_of(node.link_target));
    };
    const std::string top = resolve(tree, folder_of_links);
    // Aliases first: a dependency may be on the alias.
    for (const std::string& name : tree.list(top))
        if (belongs(join(top, name))) {
            found.push_back(join(top, name));
            names.push_back(name);
        }
    for (const std::string& folder : tree.list(top)) {
        const bool holds_dependencies =
            std::any_of(kDependencyFolders.begin(), kDependencyFolders.end(),
                        [&](const char* suffix) { return folder.ends_with(suffix); });
        if (!holds_dependencies) continue;
        for (const std::string& name : tree.list(join(top, folder)))
            if (belongs(join(join(top, folder), name))) found.push_back(join(join(top, folder), name));
    }
    return found;
}

}  // namespace dupengine::profiles
