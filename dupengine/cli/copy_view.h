#pragma once
// The plan and the report of a copy, for people and as JSON. Pure functions from values to text.

#include <nlohmann/json_fwd.hpp>
#include <string>

#include "engine/apply.h"
#include "engine/plan.h"

namespace dupengine::cli {

/// Several lines: both disks as they are, the target as it will be, what is copied, cleared and kept.
/// `columns` is the width of the terminal.
std::string draw_plan(const engine::CopyPlan& plan, unsigned columns);
std::string draw_report(const engine::CopyReport& report, const engine::CopyPlan& plan);

nlohmann::ordered_json plan_json(const engine::CopyPlan& plan);
/// `result` is "planned", "verified" or "unverified".
nlohmann::ordered_json copy_json(const engine::CopyPlan& plan, const engine::CopyReport* report);

}  // namespace dupengine::cli
