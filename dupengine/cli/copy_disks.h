#pragma once
// The disks of one copy, from the plan to what it came to. Used by the verbs that make one (copy.cc).

#include <memory>
#include <set>
#include <string>
#include <vector>

#include "cli/command.h"
#include "cli/copy_arguments.h"
#include "cli/copy_source.h"
#include "cli/created_file.h"
#include "cli/fitted_source.h"
#include "engine/apply.h"
#include "engine/plan.h"
#include "engine/refusals.h"

namespace dupengine::cli {

/// One SOURCE and its TARGET; the target is opened when all that can be refused was.
struct CopyDisk {
    engine::PathPair paths;                ///< without a source if that is an image
    std::shared_ptr<CopySource> source;    ///< of several targets, perhaps
    std::unique_ptr<FittedSource> fitted;  ///< once it is planned
    CreatedFile created;
    std::string note = {};  ///< about the target; empty: none
};

/// Of an image that a trusted key vouches for; else null.
const image::Manifest* trusted_manifest(const CopyDisk& disk);
/// Those at other machines, each once.
std::set<RemoteSource*> remotes_of(const std::vector<CopyDisk>& disks);

/// Everything that can be refused is refused here, for all disks, while the targets are open for reading
/// only.
std::vector<engine::CopyPlan> plan_disks(std::vector<CopyDisk>& disks, const CopyArguments& arguments,
                                         SourcePlaintext& plaintext, const Globals& globals);
/// Does what is planned, and shows how far it is.
std::vector<engine::CopyReport> execute_plans(const std::vector<engine::CopyPlan>& plans,
                                              std::vector<CopyDisk>& disks, const CopyArguments& arguments,
                                              const Globals& globals);
/// The other machines hear what it came to, and the reports what came from there.
void tell_result(const std::vector<CopyDisk>& disks, const std::vector<engine::CopyPlan>& plans,
                 std::vector<engine::CopyReport>& reports);

}  // namespace dupengine::cli
