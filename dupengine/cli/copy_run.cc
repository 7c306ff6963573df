#include <deque>

#include "block/open.h"
#include "cli/copy_disks.h"
#include "cli/interrupt.h"
#include "cli/progress_view.h"
#include "cli/source_report.h"
#include "cli/told_peers.h"
#include "engine/grow.h"
#include "engine/report.h"

namespace dupengine::cli {
namespace {

std::unique_ptr<block::Target> open_target(const CopyDisk& disk, const engine::CopyPlan& plan,
                                           const CopyArguments& arguments) {
    const bool is_device = plan.target.geometry.is_block_device;
    auto target =
        block::open_target(disk.paths.target, plan.protected_regions(),
                           is_device ? std::nullopt : std::optional<std::uint32_t>(plan.sector_bytes));
    // While the question stood, somebody may have mounted a file; a device is held alone from here on.
    if (!is_device) engine::refuse_if_in_use(disk.paths.source, disk.paths.target, arguments.busy());
    return target;
}

void write_report(engine::ReportFile& file, const engine::CopyPlan& plan, const engine::CopyReport& report,
                  engine::ReportDigests& digests, const block::Target& target) {
    try {
        file.write(engine::make_report(plan, report, digests.finish(plan.data, report.chunk_bytes, target),
                                       std::time(nullptr)));
    } catch (Error& e) {
        e.add_context("the copy is complete, but its report could not be written");
        throw;
    }
}

// A source at another machine is asked in any case: whether it is still there.
std::string change_of(const CopyDisk& disk, const CopyArguments& arguments) {
    if (arguments.busy_source && disk.source->remote() == nullptr) return "";
    const std::string change = disk.source->change();
    return arguments.busy_source ? "" : change;
}

// The target may look like a disk only when all that belongs to it is here: a disk whose memory did not come
// would start as a second source.
void end_source(const CopyDisk& disk, Progress& progress, const std::stop_token& stop) {
    disk.source->finish();
    if (disk.source->remote() != nullptr) disk.source->remote()->wait_for_memory(progress, stop);
}

}  // namespace

std::set<RemoteSource*> remotes_of(const std::vector<CopyDisk>& disks) {
    std::set<RemoteSource*> remotes;
    for (const CopyDisk& disk : disks)
        if (disk.source->remote() != nullptr) remotes.insert(disk.source->remote());
    return remotes;
}

std::vector<engine::CopyReport> execute_plans(const std::vector<engine::CopyPlan>& plans,
                                              std::vector<CopyDisk>& disks, const CopyArguments& arguments,
                                              const Globals& globals) {
    const InterruptWatch interrupt;
    std::vector<std::unique_ptr<block::Target>> targets;
    for (std::size_t i = 0; i < disks.size(); ++i)
        targets.push_back(open_target(disks[i], plans[i], arguments));
    Progress progress;
    const ProgressView view(progress, globals.progress);
    const ToldPeers told(remotes_of(disks), progress, interrupt.token());
    for (const CopyDisk& disk : disks)
        disk.source->set_stop(interrupt.token());
    const auto grow = [&](const engine::CopyPlan& planned, block::Target& grown) {
        engine::grow_filesystem(planned, grown, interrupt.token());
    };
    std::deque<engine::ApplyContext> contexts;  // jobs refer to them
    std::vector<engine::CopyJob> jobs;
    for (std::size_t i = 0; i < disks.size(); ++i) {
        contexts.push_back({progress, interrupt.token(), std::time(nullptr), grow,
                            [&, i] { return change_of(disks[i], arguments); },
                            [&, i] { end_source(disks[i], progress, interrupt.token()); }});
        if (disks[i].source->is_hot())
            contexts.back().next_round = [&progress, source = disks[i].source.get()] {
                return source->next_round(progress);
            };
        if (RemoteSource* remote = disks[i].source->remote(); remote != nullptr && remote->takes_memory())
            contexts.back().hold_boot = [remote, i](engine::HeldBoot held) {
                remote->hold_boot(i, std::move(held));
            };
        jobs.push_back({plans[i], disks[i].fitted->reader(), *targets[i], contexts.back()});
    }
    std::optional<engine::ReportFile> report_file;  // of a single disk
    engine::ReportDigests digests;
    if (!arguments.report.empty()) {
        report_file.emplace(arguments.report);
        contexts.front().on_chunk = [&](const engine::Slot& slot) { digests.take(slot); };
    }
    const auto keep_what_was_written = [&] {
        for (std::size_t i = 0; i < disks.size(); ++i)
            if (targets[i]->bytes_written() != 0 || targets[i]->bytes_zeroed() != 0) disks[i].created.keep();
    };
    try {
        auto reports = engine::apply_plans(jobs);
        keep_what_was_written();
        if (report_file)
            write_report(*report_file, plans.front(), reports.front(), digests, *targets.front());
        return reports;
    } catch (...) {
        // From the first write on it is an unfinished copy, and says so.
        keep_what_was_written();
        throw;
    }
}

void tell_result(const std::vector<CopyDisk>& disks, const std::vector<engine::CopyPlan>& plans,
                 std::vector<engine::CopyReport>& reports) {
    for (RemoteSource* remote : remotes_of(disks)) {
        wire::Result result;
        result.verified = true;
        for (std::size_t i = 0; i < disks.size(); ++i) {
            if (disks[i].source->remote() != remote) continue;
            engine::CopyReport& report = reports[i];
            if (result.target.empty()) report.notes.push_back(remote->traffic());
            result.target += (result.target.empty() ? "" : ", ") + report.target;
            result.verified = result.verified && plans[i].options.verify != engine::Verify::kNone &&
                              report.bad_sectors.empty();
            result.bytes_used += report.bytes_used;
            result.bytes_read += report.bytes_read;
            result.bytes_equal += report.bytes_equal;
            result.bytes_written += report.bytes_written;
            result.bytes_verified += report.bytes_verified;
            result.notes.insert(result.notes.end(), report.notes.begin(), report.notes.end());
        }
        remote->finish(result);
        // After that: the source knows what it told.
        for (std::size_t i = 0; i < disks.size(); ++i)
            if (disks[i].source->remote() == remote) {
                for (std::string& note : source_notes(remote->remote_reader().report()))
                    reports[i].notes.push_back(std::move(note));
                break;
            }
    }
}

}  // namespace dupengine::cli
