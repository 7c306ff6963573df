// Any bytes as an initramfs or a unified kernel: never a crash or a hang. What was corrected holds nothing to
// be corrected.

#include "profiles/references/initramfs.h"

#include <cstddef>
#include <cstdint>
#include <cstdlib>

#include "base/error.h"
#include "profiles/references/unified_kernel.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    using namespace dupengine::profiles;
    const std::string file(reinterpret_cast<const char*>(data), size);
    IdentifierMap map;
    map.add("a1b2c3d4-1111-4222-8333-444455556666", "0f0f0f0f-9999-4888-8777-666655554444");
    map.add("C0DE-1234", "FEED-5678");
    try {
        const UnifiedKernelFindings kernel = inspect_unified_kernel(file, map);
        if (!kernel.corrected.empty() && kernel.corrected.size() != file.size()) std::abort();
        const InitramfsFindings found = inspect_initramfs(file, map);
        if (found.addition.empty()) return 0;
        const InitramfsFindings again = inspect_initramfs(file + found.addition, map);
        if (!again.rewritten.empty() || again.stuck != found.stuck) std::abort();
    } catch (const dupengine::Error&) {
        return 0;
    }
    return 0;
}
