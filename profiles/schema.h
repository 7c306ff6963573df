#pragma once
// From the TOML text of a profile or a role to a checked value, and back. Strict: an unknown key, a wrong
// type, a bad name, a contradiction is a problem with file, line and column; keys that begin with "x-" are
// left alone. dupengine-profile(5) documents every key. Pure: reads no file; safe from any thread.

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "profiles/profile.h"
#include "profiles/toml_tree.h"

namespace dupengine::profiles {

/// Where a value was written.
struct Origin {
    std::string file;
    TomlPosition at;
    /// "web.toml:12"
    std::string text() const;
};

struct Problem {
    Origin origin;
    std::string message;
    /// "web.toml:12:3: unknown key 'hostnam'; did you mean 'hostname'?"
    std::string text() const;
};

/// One file: its value, and where each key that it really holds was written. Keys are "identity.machine_id",
/// "services[chrony.service]", "host[10.0.0.1]", "user[ops]", "file[/etc/motd]".
struct Layer {
    Profile profile;
    std::map<std::string, Origin> given;
};

struct CheckedProfile {
    Layer layer;                    ///< to be used only if there are no problems
    std::vector<Problem> problems;  ///< in the order of the text; at most 100
};

/// Looks at the whole text. `file` is what messages call it. Never throws for what the text holds.
CheckedProfile check_profile(std::string_view text, const std::string& file);

/// Throws kUsage with the first problem (and how many more there are).
Layer parse_layer(std::string_view text, const std::string& file);
Profile parse_profile(std::string_view text, const std::string& file);

/// The canonical text: parse_profile(to_toml(p), ...) == p for every p that the schema allows.
std::string to_toml(const Profile& profile);

/// "set", "derive", ...: as the schema spells it.
const char* mode_name(Mode mode);

}  // namespace dupengine::profiles
