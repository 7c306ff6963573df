#pragma once
// Unit files of a system that does not run: where they are, what their [Install] says (systemd.unit(5)), and
// the symlinks that make them enabled, as `systemctl --root` makes them. The recovery system need not have
// systemctl.

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "profiles/system/tree.h"

namespace dupengine::profiles {

inline constexpr const char* kUnitConfiguration = "/etc/systemd/system";

/// "nginx" -> "nginx.service"; a name with a unit's suffix stays.
std::string unit_name(const std::string& name);

struct UnitInstall {
    std::vector<std::string> wanted_by, required_by, upheld_by, alias, also;
    std::string default_instance;
    bool empty() const {
        return wanted_by.empty() && required_by.empty() && upheld_by.empty() && alias.empty() && also.empty();
    }
};
/// Only the [Install] section; everything else is passed over.
UnitInstall parse_install(const std::string& text);

struct UnitFile {
    std::string name;  ///< its own; differs from the one asked for if that is an alias
    std::string path;  ///< as a link to it should say
    bool masked = false;
    UnitInstall install;
};
/// As systemd looks for it: configuration before local before vendor; of a template for an instance. What
/// drop-ins say in [Install] is part of it.
std::optional<UnitFile> find_unit(const Tree& tree, const std::string& name);

/// The links that enabling makes: path -> target. Throws kRefused for a specifier that only a running system
/// knows.
std::map<std::string, std::string> links_of(const UnitFile& unit, const std::string& name);

/// The links below the folder that make any of these units enabled, by name or by what they lead to.
std::vector<std::string> enabling_links(const Tree& tree, std::vector<std::string> names,
                                        const char* folder = kUnitConfiguration);

}  // namespace dupengine::profiles
