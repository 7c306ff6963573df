#pragma once
// Identifiers inside a unified kernel image: a PE program for UEFI with the kernel, its command line and an
// initramfs in sections (UAPI specification 5, "Unified Kernel Image"; sections: Microsoft PE format). The
// command line can be corrected in its place because old and new identifiers have one length; a signed image
// or an initramfs inside cannot. Pure; numbers in the file are never believed.

#include <string>
#include <string_view>
#include <vector>

#include "profiles/references/identifier_map.h"

namespace dupengine::profiles {

struct UnifiedKernelFindings {
    bool is_unified_kernel = false;
    std::string corrected;           ///< the whole file; empty if nothing is to be corrected
    std::vector<std::string> stuck;  ///< why it cannot be corrected
};

UnifiedKernelFindings inspect_unified_kernel(std::string_view file, const IdentifierMap& map);

}  // namespace dupengine::profiles
