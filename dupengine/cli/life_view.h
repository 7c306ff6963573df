#pragma once
// What a duplicate says of itself (wake.cc), for a person at the source: who it is, what it changed, and what
// it has to say besides. Comes from another machine; what is not understood is left out.

#include <nlohmann/json_fwd.hpp>
#include <string>

#include "cli/text.h"

namespace dupengine::cli {

std::string draw_life(const nlohmann::ordered_json& said, Charset charset);

}  // namespace dupengine::cli
