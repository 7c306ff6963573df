#pragma once
// Makes one profile of a node's file and the roles it names, and tells for every key which file and line won.
// Roles are merged left to right, the node's own file last: a later item, host, user or file replaces an
// earlier one as a whole; what a later file says of a unit (enable, disable, mask) replaces what was said
// before. merge() is pure; find_roles() reads files and writes nothing.

#include <string>
#include <vector>

#include "profiles/schema.h"

namespace dupengine::profiles {

struct Explained {
    std::string key;    ///< "identity.machine_id", "services[chrony.service]", "file[/etc/motd]"
    std::string value;  ///< for a person, one line: "derive", "enable", "mode 0644, 120 bytes"
    Origin origin;
};

struct Merged {
    Profile profile;  ///< kind node; `hostname` is the node's name unless something else was asked for
    std::vector<Explained> explain;  ///< in the order of the keys
};

/// Throws kUsage if the whole contradicts itself: one file lying inside another one.
Merged merge(const Layer& node, const std::vector<Layer>& roles);

/// The role folders of a running system, in order of precedence.
std::vector<std::string> default_role_folders();

/// Loads NAME.toml of every role that the node names: the first folder that has it wins; folders that do not
/// exist are passed over. Throws kUsage for a role that is nowhere, is no role, calls itself by another name,
/// or has a problem.
std::vector<Layer> find_roles(const Profile& node, const std::vector<std::string>& folders);

}  // namespace dupengine::profiles
