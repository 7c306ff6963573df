#pragma once
// Every reference to an identifier that will change: looked for in all of /etc, in the vendor's units and
// rules, and in everything that boots, by name, symlink and content. What can be rewritten is staged; a
// single one that cannot stops the whole, before anything is changed.

#include <set>
#include <string>
#include <vector>

#include "profiles/references/identifier_map.h"
#include "profiles/system/staged.h"

namespace dupengine::profiles {

struct ReferenceScan {
    const IdentifierMap& storage;  ///< looked for in /etc and the boot files
    const IdentifierMap& boot;     ///< those and the machine-id: looked for in boot files
    std::vector<std::string> boot_folders;
    std::set<std::string> left;  ///< paths whose references a person accepts as they are
};

/// Throws kRefused naming the files and identifiers that cannot be rewritten. Notes tell what was left.
void stage_references(Staged& staged, const ReferenceScan& scan, std::vector<std::string>& notes);

}  // namespace dupengine::profiles
