#include "profiles/merge.h"

#include <algorithm>
#include <set>

#include "base/error.h"
#include "profiles/names.h"

namespace dupengine::profiles {
namespace {

struct NamedItem {
    const char* key;
    Item Profile::*member;
};

constexpr NamedItem kItems[] = {
    {"identity.hostname", &Profile::hostname},       {"identity.machine_id", &Profile::machine_id},
    {"identity.random_seed", &Profile::random_seed}, {"identity.enrolment", &Profile::enrolment},
    {"storage.disk_guid", &Profile::disk_guid},      {"storage.part_guid", &Profile::part_guid},
    {"storage.fs_uuid", &Profile::fs_uuid},          {"storage.swap_uuid", &Profile::swap_uuid},
};

std::string shown(const Item& item) {
    return item.mode == Mode::kSet ? fmt::format("set {}", quoted(item.value)) : mode_name(item.mode);
}

std::string shown(const Boot& boot) {
    std::string text = boot.choice.empty() ? "disk" : boot.choice;
    if (boot.timeout_seconds) text += fmt::format(", after {} s", *boot.timeout_seconds);
    for (const std::string* part : {&boot.loader, &boot.kernel})
        if (!part->empty()) text += ", " + *part;
    return text;
}

std::string joined(const std::vector<std::string>& texts) {
    std::string all;
    for (const std::string& text : texts)
        all += (all.empty() ? "" : " ") + text;
    return all;
}

class Merger {
  public:
    void add(const Layer& layer) {
        items(layer);
        services(layer);
        named(layer, "host", merged_.profile.hosts, layer.profile.hosts, &Host::address,
              [](const Host& host) { return joined(host.names); });
        named(layer, "user", merged_.profile.users, layer.profile.users, &User::name, [](const User& user) {
            return fmt::format("authorized keys: {}", user.ssh_authorized_keys.size());
        });
        named(layer, "file", merged_.profile.files, layer.profile.files, &File::path, [](const File& file) {
            return fmt::format("mode {:04o}, {} bytes", file.mode, file.content.size());
        });
        named(layer, "link", merged_.profile.links, layer.profile.links, &Link::name, [](const Link& link) {
            return fmt::format("mac: {}, {}{}", shown(link.mac), link.dhcp ? "dhcp" : joined(link.addresses),
                               link.up ? "" : ", down");
        });
    }

    Merged finish(const Layer& node) {
        Profile& profile = merged_.profile;
        profile.generation = node.profile.generation;
        profile.node = node.profile.node;
        profile.roles = node.profile.roles;
        profile.description = node.profile.description;
        profile.boot = node.profile.boot;
        if (node.given.contains("boot")) note(node, "boot", "boot", shown(profile.boot));
        if (!node.given.contains("identity.hostname") && won("identity.hostname") == nullptr) {
            profile.hostname = {Mode::kSet, profile.node};
            note(node, "identity.hostname", "node", shown(profile.hostname));
        }
        for (auto& [key, line] : explain_)
            merged_.explain.push_back(std::move(line));
        return std::move(merged_);
    }

  private:
    void items(const Layer& layer) {
        for (const NamedItem& item : kItems)
            if (layer.given.contains(item.key)) {
                merged_.profile.*item.member = layer.profile.*item.member;
                note(layer, item.key, item.key, shown(layer.profile.*item.member));
            }
        const char* const kKeys = "identity.ssh_host_keys";
        if (!layer.given.contains(kKeys)) return;
        const SshHostKeys& keys = layer.profile.ssh_host_keys;
        merged_.profile.ssh_host_keys = keys;
        note(layer, kKeys, kKeys, fmt::format("{} ({})", mode_name(keys.mode), joined(keys.types)));
    }

    // All earlier words about the units of this layer are forgotten first.
    void services(const Layer& layer) {
        Services& all = merged_.profile.services;
        const Services& own = layer.profile.services;
        const std::pair<std::vector<std::string> Services::*, const char*> kLists[] = {
            {&Services::enable, "enable"}, {&Services::disable, "disable"}, {&Services::mask, "mask"}};
        std::set<std::string> mentioned;
        for (const auto& [list, word] : kLists)
            mentioned.insert((own.*list).begin(), (own.*list).end());
        for (const auto& [list, word] : kLists)
            std::erase_if(all.*list, [&](const std::string& unit) { return mentioned.contains(unit); });
        for (const std::string& unit : mentioned)
            explain_.erase(fmt::format("services[{}]", unit));
        for (const auto& [list, word] : kLists)
            for (const std::string& unit : own.*list) {
                (all.*list).push_back(unit);
                const std::string key = fmt::format("services[{}]", unit);
                const Explained* before = won(key);
                note(layer, key, key, before == nullptr ? word : before->value + ", " + word);
            }
    }

    template <typename T, typename Show>
    void named(const Layer& layer, const char* section, std::vector<T>& all, const std::vector<T>& own,
               std::string T::*name, Show show) {
        for (const T& one : own) {
            const auto same =
                std::find_if(all.begin(), all.end(), [&](const T& t) { return t.*name == one.*name; });
            if (same == all.end())
                all.push_back(one);
            else
                *same = one;
            const std::string key = fmt::format("{}[{}]", section, one.*name);
            note(layer, key, key, show(one));
        }
    }

    const Explained* won(const std::string& key) const {
        const auto found = explain_.find(key);
        return found == explain_.end() ? nullptr : &found->second;
    }
    void note(const Layer& layer, const std::string& key, const std::string& given_as, std::string value) {
        const auto origin = layer.given.find(given_as);
        explain_[key] = {key, std::move(value), origin == layer.given.end() ? Origin{} : origin->second};
    }

    std::map<std::string, Explained> explain_;
    Merged merged_;
};

// Roles that are good by themselves may not fit together.
void check_paths(const Merged& merged) {
    std::set<std::string> paths;
    for (const File& file : merged.profile.files)
        paths.insert(file.path);
    for (const Explained& line : merged.explain) {
        if (!line.key.starts_with("file[")) continue;
        const std::string path = line.key.substr(5, line.key.size() - 6);
        for (std::size_t at = path.find('/', 1); at != std::string::npos; at = path.find('/', at + 1))
            if (paths.contains(path.substr(0, at)))
                throw_error(Code::kUsage, "{}: file {} lies in {}, which another role makes a file",
                            line.origin.text(), quoted(path), quoted(path.substr(0, at)));
    }
}

}  // namespace

Merged merge(const Layer& node, const std::vector<Layer>& roles) {
    Merger merger;
    for (const Layer& role : roles)
        merger.add(role);
    merger.add(node);
    Merged merged = merger.finish(node);
    check_paths(merged);
    return merged;
}

}  // namespace dupengine::profiles
