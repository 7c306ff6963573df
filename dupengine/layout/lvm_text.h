#pragma once
// The text in which LVM2 keeps a volume group: sections of "name { ... }" and "name = value". Internal to
// layout/. Pure. Format: lib/format_text and libdm/libdm-config in the LVM2 sources; lvm.conf(5) describes
// the same syntax.

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace dupengine::layout {

struct LvmSection {
    std::map<std::string, LvmSection, std::less<>> sections;
    std::map<std::string, std::uint64_t, std::less<>> numbers;
    std::map<std::string, std::vector<std::string>, std::less<>> lists;  ///< a string is a list of one

    /// Throw kIntegrity if there is none.
    const LvmSection& section(std::string_view name) const;
    std::uint64_t number(std::string_view name) const;
    const std::string& text(std::string_view name) const;
    /// Empty if there is none.
    const std::vector<std::string>& list(std::string_view name) const;
};

/// Numbers within a list are kept as they are written. Throws kIntegrity for what is not this format.
LvmSection parse_lvm_text(std::string_view text);

}  // namespace dupengine::layout
