#include "profiles/node_role.h"

#include <unistd.h>

#include <algorithm>

#include "block/open.h"
#include "machine/efi_variables.h"
#include "profiles/merge.h"
#include "profiles/names.h"
#include "profiles/store.h"
#include "profiles/stores/partition.h"
#include "profiles/stores/variables.h"

namespace dupengine::profiles {
namespace {

// Whatever is wrong with a profile, the answer is the same: no role is taken up.
template <typename Step>
auto refusing(Step step) {
    try {
        return step();
    } catch (Error& e) {
        if (e.code() == Code::kUsage || e.code() == Code::kIntegrity) e.set_code(Code::kRefused);
        throw;
    }
}

bool is_on_this_machine(const std::string& role, const std::vector<std::string>& folders) {
    return std::any_of(folders.begin(), folders.end(), [&](const std::string& folder) {
        return ::access(fmt::format("{}/{}.toml", folder, role).c_str(), F_OK) == 0;
    });
}

Layer load_role(const Profile& node, const std::string& role, const std::vector<std::string>& folders,
                const Tree& system, const std::string& name) {
    const std::string fault = role_name_fault(role);  // the text becomes a path
    if (!fault.empty()) throw_error(Code::kRefused, "role {} {}", quoted(role), fault);
    if (!is_on_this_machine(role, folders))
        for (const std::string& folder : default_role_folders()) {
            const std::string path = fmt::format("{}/{}.toml", folder, role);
            if (system.look(resolve(system, path)).kind != NodeKind::kFile) continue;
            const std::string file = name + ":" + path;
            Layer layer = parse_layer(read_text(system, path), file);
            if (layer.profile.kind != Kind::kRole || layer.profile.role != role)
                throw_error(Code::kRefused, "{}: is not the role {}", file, quoted(role));
            return layer;
        }
    Profile one = node;
    one.roles = {role};
    return find_roles(one, folders).front();
}

// Empty for a store that holds no profile yet.
std::string node_of(const StoredRole& role) {
    return role.profile.text.empty() ? "" : load_node(role.profile, role.store).profile.node;
}

// Empty, too, where it cannot be read: then it names nobody.
std::string node_in(const std::string& store) {
    try {
        return node_of(read_stored_role(store));
    } catch (const Error&) {
        return {};
    }
}

// Several disks may have it, and then it has to be the same one.
template <typename Open, typename Read>
StoredRole find_role(const std::vector<std::string>& disks, Open open, Read read) {
    std::vector<StoredRole> held;
    for (const std::string& disk : disks)
        if (find_profile_place(*open(disk))) held.push_back(read(disk));
    if (held.empty()) return read(disks.front());  // says what is missing there
    const auto is_filled = [](const StoredRole& role) { return !role.profile.text.empty(); };
    const auto first = std::find_if(held.begin(), held.end(), is_filled);
    if (first == held.end()) return held.front();
    for (const StoredRole& other : held)
        if (is_filled(other) && (other.profile.text != first->profile.text ||
                                 other.profile.secret.bytes != first->profile.secret.bytes))
            throw_error(Code::kRefused,
                        "{} and {}: hold different profiles; say which one counts with --store", first->store,
                        other.store);
    return *first;
}

}  // namespace

StoredRole read_stored_role(const std::string& store) {
    return refusing([&] { return StoredRole{store, open_store(store)->read()}; });
}

StoredRole find_stored_role(const std::vector<std::string>& disks) {
    return refusing([&] {
        return find_role(
            disks, [](const std::string& disk) { return block::open_source(disk); },
            [](const std::string& disk) { return read_stored_role("partition:" + disk); });
    });
}

StoredRole find_own_role(const std::vector<std::string>& disks) {
    return find_own_role(disks, machine::runs_from_memory() && has_variable_store() ? "efivar:" : "");
}

StoredRole find_own_role(const std::vector<std::string>& disks, const std::string& firmware) {
    const auto has_store = [](const std::string& disk) {
        return find_profile_place(*block::open_source(disk)).has_value();
    };
    return refusing([&] {
        if (firmware.empty()) return find_stored_role(disks);
        if (std::ranges::none_of(disks, has_store)) return read_stored_role(firmware);
        StoredRole of_disk = find_stored_role(disks);
        const std::string node = node_of(of_disk), other = node_in(firmware);
        if (!node.empty() && !other.empty() && node != other)
            throw_error(Code::kRefused,
                        "{}: is the profile of {}, and the firmware of this machine holds that of {}: these "
                        "are two machines; take away the one that does not belong here",
                        of_disk.store, node, other);
        return of_disk;
    });
}

StoredRole read_role_from_medium(const std::string& disk, const block::Media& media) {
    return refusing([&] { return StoredRole{"partition:" + disk, read_profile(*media.open(disk))}; });
}

StoredRole find_role_on_media(const std::vector<std::string>& disks, const block::Media& media) {
    return refusing([&] {
        return find_role(disks, media.open,
                         [&](const std::string& disk) { return read_role_from_medium(disk, media); });
    });
}

Profile merge_role(const StoredRole& stored, const std::vector<std::string>& folders, const Tree& system,
                   const std::string& name) {
    return refusing([&] {
        const Layer node = load_node(stored.profile, stored.store);
        std::vector<Layer> roles;
        for (const std::string& role : node.profile.roles)
            roles.push_back(load_role(node.profile, role, folders, system, name));
        return merge(node, roles).profile;
    });
}

Profile merge_role_here(const StoredRole& stored, const std::vector<std::string>& folders,
                        std::vector<std::string>& left_out) {
    return refusing([&] {
        const Layer node = load_node(stored.profile, stored.store);
        Profile known = node.profile;
        std::erase_if(known.roles, [&](const std::string& role) {
            if (role_name_fault(role).empty() && is_on_this_machine(role, folders)) return false;
            left_out.push_back(role);
            return true;
        });
        return merge(node, find_roles(known, folders)).profile;
    });
}

}  // namespace dupengine::profiles
