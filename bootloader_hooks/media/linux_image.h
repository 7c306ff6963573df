#pragma once
// A kernel as a file. Pure.

#include <string>
#include <string_view>

namespace dupengine::boot {

/// The version of an x86 kernel, as uname -r prints it (Linux: Documentation/arch/x86/boot.rst,
/// kernel_version). Throws kUsage for what is no such kernel, or one that does not say.
std::string kernel_version(std::string_view image, const std::string& name);

}  // namespace dupengine::boot
