#include "profiles/node_role.h"

#include <unistd.h>

#include <algorithm>

#include "profiles/merge.h"
#include "profiles/names.h"
#include "profiles/store.h"

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

}  // namespace

StoredProfile read_stored_role(const std::string& store) {
    return refusing([&] { return open_store(store)->read(); });
}

Profile merge_role(const StoredProfile& stored, const std::string& store,
                   const std::vector<std::string>& folders, const Tree& system, const std::string& name) {
    return refusing([&] {
        const Layer node = load_node(stored, store);
        std::vector<Layer> roles;
        for (const std::string& role : node.profile.roles)
            roles.push_back(load_role(node.profile, role, folders, system, name));
        return merge(node, roles).profile;
    });
}

}  // namespace dupengine::profiles
