// Finds the files of the roles that a node names.

#include <unistd.h>

#include "base/fd.h"
#include "profiles/merge.h"
#include "profiles/names.h"

namespace dupengine::profiles {
namespace {

// The parser checks role names too, but a Profile may be built by hand, and this text becomes a path.
void check_role_name(const std::string& name) {
    const std::string fault = role_name_fault(name);
    if (!fault.empty()) throw_error(Code::kUsage, "role {} {}", quoted(name), fault);
}

Layer load_role(const std::string& name, const std::vector<std::string>& folders) {
    std::string searched;
    for (const std::string& folder : folders) {
        const std::string path = fmt::format("{}/{}.toml", folder, name);
        searched += (searched.empty() ? "" : ", ") + folder;
        if (::access(path.c_str(), F_OK) != 0) continue;
        Layer layer = parse_layer(read_file(path, Code::kUsage, kTomlLimitBytes), path);
        if (layer.profile.kind != Kind::kRole)
            throw_error(Code::kUsage, "{}: is the profile of a node, but is used as the role {}", path,
                        quoted(name));
        if (layer.profile.role != name)
            throw_error(Code::kUsage, "{}: calls itself the role {}; the file name and 'role' must agree",
                        path, quoted(layer.profile.role));
        return layer;
    }
    throw_error(Code::kUsage, "no file {}.toml of the role {} in {}", name, quoted(name),
                searched.empty() ? "any folder: none was given" : searched);
}

}  // namespace

std::vector<std::string> default_role_folders() {
    return {"/etc/dupengine/roles.d", "/run/dupengine/roles.d", "/usr/lib/dupengine/roles.d"};
}

std::vector<Layer> find_roles(const Profile& node, const std::vector<std::string>& folders) {
    std::vector<Layer> roles;
    for (const std::string& name : node.roles) {
        check_role_name(name);
        roles.push_back(load_role(name, folders));
    }
    return roles;
}

}  // namespace dupengine::profiles
