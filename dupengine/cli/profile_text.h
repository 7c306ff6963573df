#pragma once
// Profiles and stores as text for a person and as JSON. Pure functions; a node's secret is in none of them.

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "profiles/merge.h"
#include "profiles/slots.h"

namespace dupengine::cli {

nlohmann::ordered_json profile_json(const profiles::Profile& profile);
nlohmann::ordered_json slots_json(const profiles::Slots& slots);
nlohmann::ordered_json explain_json(const std::vector<profiles::Explained>& lines);
nlohmann::ordered_json problems_json(const std::vector<profiles::Problem>& problems);

/// One aligned line per key: key, value, file:line.
std::string explain_text(const std::vector<profiles::Explained>& lines);
/// A line of warning if one of two slots was written once and cannot be used; otherwise empty.
std::string slots_warning(const profiles::Slots& slots, const std::string& store);

}  // namespace dupengine::cli
