#pragma once
// Identifiers inside an initramfs: what boots from it looks for the root, the swap to resume from, ... by
// them (initramfs_members.h). It is read as the kernel reads it, and never unpacked anywhere.
//
// Instead of packing it again, a small uncompressed archive with the corrected members is put at its end: the
// kernel unpacks the archives in order into one root, and a later member replaces an earlier one of the same
// name (init/initramfs.c). So the compressed part keeps its bytes, its method and its parameters.

#include <string>
#include <string_view>
#include <vector>

#include "profiles/references/identifier_map.h"

namespace dupengine::profiles {

struct InitramfsFindings {
    bool is_initramfs = false;
    std::vector<std::string> rewritten;  ///< members that hold an old identifier and can be corrected
    std::vector<std::string>
        stuck;             ///< "NAME: why": those that cannot (binary, or the name itself holds one)
    std::string addition;  ///< to be put at the end of the file; empty if nothing is to be corrected
};

/// Throws kIntegrity if the file begins as one and then cannot be read.
InitramfsFindings inspect_initramfs(std::string_view file, const IdentifierMap& map);

}  // namespace dupengine::profiles
