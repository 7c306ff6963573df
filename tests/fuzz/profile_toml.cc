// Any text as a profile: never a crash or a hang, and what is accepted survives a round trip through
// canonical text.

#include <cstddef>
#include <cstdint>
#include <cstdlib>

#include "profiles/merge.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    using namespace dupengine::profiles;
    const std::string_view text(reinterpret_cast<const char*>(data), size);
    const CheckedProfile checked = check_profile(text, "fuzz");
    for (const Problem& problem : checked.problems)
        if (problem.text().find('\n') != std::string::npos) std::abort();  // one line for one problem
    if (!checked.problems.empty()) return 0;
    const Profile& profile = checked.layer.profile;
    if (parse_profile(to_toml(profile), "again") != profile) std::abort();
    if (profile.kind == Kind::kNode) merge(checked.layer, {});
    return 0;
}
