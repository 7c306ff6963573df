#pragma once
// The plan and the report of a copy, for people and as JSON. Pure functions from values to text.

#include <string>

#include "cli/drawing.h"
#include "engine/apply.h"
#include "engine/plan.h"

namespace dupengine::cli {

/// The target as it is and as it will be, what is copied, cleared and kept, and the notes.
std::string draw_plan(const engine::CopyPlan& plan, const DrawingStyle& style);
std::string draw_report(const engine::CopyReport& report, const engine::CopyPlan& plan,
                        const DrawingStyle& style);

/// One JSON document: the report's fields, and "plan". Without a report "result" is "planned"; with one it is
/// "verified", or "unverified" where verification was switched off. dupengine-copy(8) documents it.
std::string copy_json(const engine::CopyPlan& plan, const engine::CopyReport* report);

}  // namespace dupengine::cli
