#pragma once
// What the command line of `copy` says, and of the verbs that do a part of it (`receive`). The work itself is
// run_copy.

#include <memory>
#include <string>
#include <vector>

#include "cli/command.h"
#include "cli/copy_source.h"
#include "cli/luks_options.h"
#include "engine/plan.h"
#include "engine/refusals.h"

namespace dupengine::cli {

struct CopyArguments {
    std::string source, target, report;
    std::vector<std::string> maps;
    engine::CopyOptions options;
    LuksOptions luks;
    ImageTrustOptions trust;
    NewImageOptions image;
    PeerOptions peers;
    bool busy_source = false;
    bool create = false;
    bool shrink = false;
    bool nice = false;
    bool allow_older = false;
    bool if_newer = false;

    engine::BusySource busy() const {
        return busy_source ? engine::BusySource::kAccept : engine::BusySource::kRefuse;
    }
};

/// Options of whoever has the target: what becomes of it, and how hard the machine works.
void add_target_options(CLI::App& verb, CopyArguments& arguments);

/// A source that was opened before, and where it goes.
struct GivenDisk {
    std::shared_ptr<CopySource> source;
    std::string target;
};

/// Plans, asks, copies, reports. `given`, if there are any, are the disks of the set, and what `arguments`
/// says of sources and targets is not looked at.
int run_copy(const CopyArguments& arguments, const Globals& globals,
             const std::vector<GivenDisk>& given = {});

/// Processor time and the disks to others first (ionice(1), class idle). Threads made later inherit it.
void go_last();

}  // namespace dupengine::cli
