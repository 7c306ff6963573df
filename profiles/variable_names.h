#pragma once
// The names of the variables that are a profile store (stores/variables.h), shared with efi/. Needs no
// library behind it.

#include <array>

namespace dupengine::profiles {

/// Of slot 0 and slot 1. The vendor is ours (dupengine-efi(8)).
inline constexpr std::array kSlotVariables = {"DupengineProfileA", "DupengineProfileB"};

}  // namespace dupengine::profiles
