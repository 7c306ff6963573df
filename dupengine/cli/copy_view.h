#pragma once
// The plan and the report of a copy, for people and as JSON. Pure functions from values to text.

#include <span>
#include <string>

#include "cli/drawing.h"
#include "engine/apply.h"
#include "engine/plan.h"

namespace dupengine::cli {

/// Of each disk: the target as it is and as it will be, what is copied, cleared and kept, and the notes.
std::string draw_plans(std::span<const engine::CopyPlan> plans, const DrawingStyle& style);
/// The plan of a capture: the disk that goes into an image.
std::string draw_capture(const engine::CopyPlan& plan, const DrawingStyle& style);
std::string draw_reports(std::span<const engine::CopyReport> reports, std::span<const engine::CopyPlan> plans,
                         const DrawingStyle& style);

enum class ReportForm {
    kOneDisk,  ///< the disk's fields, at the top
    kSet       ///< "result" and "seconds" of all, and "disks" with the same fields for each
};
/// One JSON document: the report's fields, and "plan". Without reports "result" is "planned"; with them it is
/// "verified", or "unverified" where verification was switched off. dupengine-copy(8) documents it.
std::string copy_json(std::span<const engine::CopyPlan> plans, std::span<const engine::CopyReport> reports,
                      ReportForm form);

}  // namespace dupengine::cli
