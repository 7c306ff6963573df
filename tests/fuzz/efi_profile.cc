// Any text as a profile that firmware reads: never a crash or a hang, and what profiles/ accepts firmware
// reads in the same way.

#include <cstddef>
#include <cstdint>
#include <cstdlib>

#include "profiles/schema.h"
#include "tests/support/efi_facts.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    using namespace dupengine;
    const std::string_view text(reinterpret_cast<const char*>(data), size);
    efi::NodeProfile seen;
    const efi::TextView reason = efi::read_profile({text.data(), text.size()}, seen);
    const profiles::CheckedProfile checked = profiles::check_profile(text, "fuzz");
    if (!checked.problems.empty() || checked.layer.profile.kind != profiles::Kind::kNode) return 0;
    if (!reason.empty() || test::facts_of(seen) != test::facts_of(checked.layer.profile)) std::abort();
    return 0;
}
