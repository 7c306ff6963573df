// dupengine copy SOURCE TARGET, or --map SOURCE=TARGET for each of several disks: duplicates disks or images
// onto others and verifies them. See dupengine-copy(8).

#include <unistd.h>

#include <algorithm>
#include <deque>
#include <memory>
#include <set>

#include "block/open.h"
#include "cli/capture.h"
#include "cli/confirm.h"
#include "cli/copy_arguments.h"
#include "cli/copy_source.h"
#include "cli/copy_view.h"
#include "cli/created_file.h"
#include "cli/disk_pairs.h"
#include "cli/fitted_source.h"
#include "cli/image_target.h"
#include "cli/interrupt.h"
#include "cli/peers_option.h"
#include "cli/progress_view.h"
#include "cli/send.h"
#include "cli/source_report.h"
#include "cli/terminal.h"
#include "cli/told_peers.h"
#include "engine/apply.h"
#include "engine/grow.h"
#include "engine/refusals.h"
#include "engine/report.h"

namespace dupengine::cli {
namespace {

// One SOURCE and its TARGET; the target is opened when all that can be refused was.
struct Disk {
    engine::PathPair paths;                // without a source if that is an image
    std::shared_ptr<CopySource> source;    // of several targets, perhaps
    std::unique_ptr<FittedSource> fitted;  // once it is planned
    CreatedFile created;
    std::string note = {};  // about the target; empty: none
};

// Of an image that a trusted key vouches for; else null.
const image::Manifest* trusted_manifest(const Disk& disk) {
    const image::OpenImage* image = disk.source->image();
    return image != nullptr && !image->signed_by.empty() ? &image->manifest() : nullptr;
}

std::vector<GivenDisk> open_sources(const std::vector<engine::PathPair>& pairs,
                                    const CopyArguments& arguments) {
    std::vector<GivenDisk> opened;
    const std::vector<std::size_t> numbers = number_sources(pairs);
    for (std::size_t i = 0; i < pairs.size(); ++i) {
        const auto source =
            numbers[i] < i ? opened[numbers[i]].source
                           : std::make_shared<CopySource>(pairs[i].source, arguments.trust, arguments.peers);
        // Whoever gives the command answers for it; who sends to `receive` has said it there.
        if (source->is_busy_elsewhere() && !arguments.busy_source)
            throw_error(Code::kRefused,
                        "{}: is in use there, and offered all the same: it can change while it is read; "
                        "--busy-source takes it as it is",
                        source->reader().name());
        opened.push_back({source, pairs[i].target});
    }
    return opened;
}

std::vector<Disk> make_disks(const std::vector<GivenDisk>& given, const CopyArguments& arguments) {
    std::vector<Disk> disks;
    for (const auto& [source, target] : given) {
        Disk& disk = disks.emplace_back(Disk{{source->local_path(), target}, source, nullptr, {}});
        if (arguments.create && ::access(target.c_str(), F_OK) != 0)
            disk.created = CreatedFile(target, source->reader().geometry().size_bytes);
    }
    return disks;
}

// Rounds name places of the source: it has to be copied byte for byte, and nothing may be done to the copy
// before they are over.
void refuse_changes_of_a_hot_disk(const Disk& disk, const CopyArguments& arguments) {
    if (!disk.source->is_hot()) return;
    const std::string& name = disk.source->reader().name();
    if (disk.fitted->is_view())
        throw_error(Code::kRefused,
                    "{}: is in use there, and its copy here would have to be fitted to another kind of disk; "
                    "stop it and copy it",
                    name);
    if (arguments.options.grow || !arguments.report.empty())
        throw_error(Code::kRefused, "{}: is in use there: --grow and --report cannot be had", name);
}

// Everything that can be refused is refused here, for all disks, while the targets are open for reading only.
std::vector<engine::CopyPlan> plan_disks(std::vector<Disk>& disks, const CopyArguments& arguments,
                                         SourcePlaintext& plaintext, const Globals& globals) {
    std::vector<engine::PathPair> paths;
    for (const Disk& disk : disks) {
        block::refuse_if_read_only(disk.paths.target);
        paths.push_back(disk.paths);
    }
    const auto notes = engine::refuse_if_in_use(paths, arguments.busy());
    if (!arguments.busy_source)
        for (Disk& disk : disks)
            disk.source->take_alone();
    std::vector<std::unique_ptr<block::Reader>> targets;
    std::vector<engine::DiskPair> pairs;
    for (Disk& disk : disks) {
        targets.push_back(block::open_source(disk.paths.target));
        if (const image::Manifest* trusted = trusted_manifest(disk)) {
            refuse_other_class(*trusted, *targets.back());
            if (!arguments.allow_older) disk.note = refuse_older_version(*trusted, *targets.back());
        }
        const block::Reader& source = disk.source->reader();
        disk.fitted =
            std::make_unique<FittedSource>(plaintext.rekey(source, nullptr), source, *targets.back(),
                                           arguments.shrink, arguments.options, globals);
        refuse_changes_of_a_hot_disk(disk, arguments);
        // That the source is the same does not show that a view of it is.
        const bool can_show_state = !arguments.busy_source && !disk.fitted->is_view();
        pairs.push_back({disk.fitted->reader(), *targets.back(), can_show_state ? disk.source->state() : ""});
    }
    engine::CopyOptions options = arguments.options;
    // Samples of all of it would have to pass first.
    if (disks.front().source->is_pipe() && options.delta == engine::Delta::kAuto)
        options.delta = engine::Delta::kNever;
    options.plaintext = &plaintext.finder();
    std::vector<engine::CopyPlan> plans = engine::make_plans(pairs, options);
    plaintext.refuse_useless_key();
    for (std::size_t i = 0; i < plans.size(); ++i) {
        engine::refuse_if_growing_is_impossible(plans[i], pairs[i].source, *targets[i]);
        const std::vector<std::string>& changes = disks[i].fitted->notes();
        plans[i].notes.insert(plans[i].notes.begin(), changes.begin(), changes.end());
        const std::vector<std::string>& forms = disks[i].source->notes();
        plans[i].notes.insert(plans[i].notes.begin(), forms.begin(), forms.end());
        plans[i].notes.insert(plans[i].notes.end(), notes[i].begin(), notes[i].end());
        if (!disks[i].note.empty()) plans[i].notes.push_back(disks[i].note);
        plans[i].notes.insert(plans[i].notes.end(), plaintext.notes().begin(), plaintext.notes().end());
        const CopySource& source = *disks[i].source;
        if (source.is_hot())
            plans[i].notes.push_back(
                fmt::format("{} is in use there: what is written meanwhile follows, and the copy is of one "
                            "moment at its end",
                            source.reader().name()));
        else if (source.is_busy_elsewhere())
            plans[i].notes.push_back(
                fmt::format("{} is in use there: what is written while it is copied may be half in the copy",
                            source.reader().name()));
        else if (!arguments.busy_source && source.could_change_unseen())
            plans[i].notes.push_back(fmt::format(
                "nothing would show that {} is written while it is copied: see to it that nobody does",
                source.reader().name()));
    }
    return plans;
}

std::unique_ptr<block::Target> open_target(const Disk& disk, const engine::CopyPlan& plan,
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
std::string change_of(const Disk& disk, const CopyArguments& arguments) {
    if (arguments.busy_source && disk.source->remote() == nullptr) return "";
    const std::string change = disk.source->change();
    return arguments.busy_source ? "" : change;
}

// Those at other machines, each once.
std::set<RemoteSource*> remotes_of(const std::vector<Disk>& disks) {
    std::set<RemoteSource*> remotes;
    for (const Disk& disk : disks)
        if (disk.source->remote() != nullptr) remotes.insert(disk.source->remote());
    return remotes;
}

// The other machines hear what it came to, and the reports what came from there.
void tell_result(const std::vector<Disk>& disks, const std::vector<engine::CopyPlan>& plans,
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

// The target may look like a disk only when all that belongs to it is here: a disk whose memory did not come
// would start as a second source.
void end_source(const Disk& disk, Progress& progress, const std::stop_token& stop) {
    disk.source->finish();
    if (disk.source->remote() != nullptr) disk.source->remote()->wait_for_memory(progress, stop);
}

std::vector<engine::CopyReport> execute(const std::vector<engine::CopyPlan>& plans, std::vector<Disk>& disks,
                                        const CopyArguments& arguments, const Globals& globals) {
    const InterruptWatch interrupt;
    std::vector<std::unique_ptr<block::Target>> targets;
    for (std::size_t i = 0; i < disks.size(); ++i)
        targets.push_back(open_target(disks[i], plans[i], arguments));
    Progress progress;
    const ProgressView view(progress, globals.progress);
    const ToldPeers told(remotes_of(disks), progress, interrupt.token());
    for (const Disk& disk : disks)
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

void remember_versions(const std::vector<Disk>& disks) {
    for (const Disk& disk : disks) {
        const image::Manifest* trusted = trusted_manifest(disk);
        if (trusted == nullptr) continue;
        try {
            remember_version(*trusted, disk.paths.target, std::time(nullptr));
        } catch (Error& e) {
            e.add_context(
                "the copy is complete, but which version it is could not be noted for the next one");
            throw;
        }
    }
}

int capture(const CopyArguments& arguments, const image::Reference& target, const Globals& globals) {
    const engine::CopyOptions usual;
    const engine::CopyOptions& options = arguments.options;
    if (!arguments.maps.empty() || !arguments.report.empty() || arguments.shrink || arguments.create ||
        options.grow || options.tolerate_bad_sectors || !options.protect.empty() ||
        options.unused != usual.unused || options.verify != usual.verify || options.delta != usual.delta ||
        options.ignore_target_table || arguments.allow_older || arguments.if_newer ||
        !arguments.luks.new_key_file.empty())
        throw_error(
            Code::kUsage,
            "a TARGET that is an image takes SOURCE, --sign-key, --expires, --target-class, --busy-source, "
            "--luks-key-file, --rate, --nice and the sizes of the work; the rest is of disks");
    if (arguments.nice) go_last();
    return run_capture({arguments.source, target, options, arguments.luks, arguments.trust, arguments.image,
                        arguments.busy_source},
                       globals);
}

std::vector<engine::PathPair> paths_of(const std::vector<Disk>& disks) {
    std::vector<engine::PathPair> paths;
    for (const Disk& disk : disks)
        paths.push_back(disk.paths);
    return paths;
}

bool has_peer(const std::vector<engine::PathPair>& pairs) {
    return std::ranges::any_of(pairs, [](const engine::PathPair& pair) {
        return wire::parse_peer_reference(pair.source) || wire::parse_peer_reference(pair.target);
    });
}

// Who sent waits as long as the person thinks.
void ask_person(const std::vector<Disk>& disks) {
    Progress asking;
    asking.begin("asking", 0);
    const ToldPeers told(remotes_of(disks), asking, {});
    confirm_overwrite(name_targets(paths_of(disks)));
}

// With --if-newer: whether all targets have what they would get. Both forms of the answer say so.
bool nothing_to_copy(const std::vector<Disk>& disks, const Globals& globals) {
    for (const Disk& disk : disks) {
        const image::Manifest* trusted = trusted_manifest(disk);
        if (trusted == nullptr)
            throw_error(Code::kUsage,
                        "{}: --if-newer is of images that a trusted key has signed; others have no version "
                        "that could be believed",
                        disk.source->reader().name());
        if (!has_version(*trusted, *block::open_source(disk.paths.target))) return false;
    }
    if (globals.json) {
        fmt::print("{{\n  \"result\": \"nothing to copy\"\n}}\n");
        return true;
    }
    for (const Disk& disk : disks)
        fmt::print("nothing to copy: {} has {}@{}\n", disk.paths.target, trusted_manifest(disk)->name,
                   trusted_manifest(disk)->version);
    return true;
}

// From the plan to the report, once it is clear what is copied where.
int copy_disks(std::vector<Disk>& disks, const CopyArguments& arguments, const Globals& globals) {
    if (arguments.if_newer && nothing_to_copy(disks, globals)) return 0;
    // How it was asked decides the form of the answer, not how many disks there happen to be.
    const ReportForm form =
        arguments.maps.empty() && disks.size() == 1 ? ReportForm::kOneDisk : ReportForm::kSet;
    // Until the end: it keeps others from mounting what is open.
    SourcePlaintext plaintext(arguments.luks);
    const std::vector<engine::CopyPlan> plans = plan_disks(disks, arguments, plaintext, globals);
    plaintext.forget_keys();
    if (!arguments.report.empty()) engine::refuse_what_no_report_holds(plans.front());
    const DrawingStyle style = look_at_terminal(STDOUT_FILENO).style;
    if (!globals.json)
        for (const Disk& disk : disks)
            fmt::print("{}", disk.fitted->draw_before(style));
    if (!globals.json) fmt::print("{}", draw_plans(plans, style));
    if (globals.dry_run) {
        if (globals.json) fmt::print("{}\n", copy_json(plans, {}, form));
        for (RemoteSource* remote : remotes_of(disks))
            remote->abort(Error(Code::kRefused, "only the plan was wanted there (--dry-run)"));
        return 0;
    }
    std::fflush(stdout);
    if (!globals.yes) ask_person(disks);
    std::vector<engine::CopyReport> reports = execute(plans, disks, arguments, globals);
    for (std::size_t i = 0; i < disks.size(); ++i)
        if (!block::reread_partitions(disks[i].paths.target))
            reports[i].notes.emplace_back(
                "the kernel still uses the target's old table: partitions of it are in use; reboot");
    remember_versions(disks);
    tell_result(disks, plans, reports);
    if (globals.json)
        fmt::print("{}\n", copy_json(plans, reports, form));
    else
        fmt::print("{}", draw_reports(reports, plans, style));
    return 0;
}

int copy_given(const std::vector<GivenDisk>& given, const CopyArguments& arguments, const Globals& globals) {
    if (arguments.nice) go_last();  // before the plan, which --shrink works on longest
    std::vector<Disk> disks = make_disks(given, arguments);
    try {
        return copy_disks(disks, arguments, globals);
    } catch (const Error& e) {
        for (RemoteSource* remote : remotes_of(disks))
            remote->abort(e);
        throw;
    }
}

}  // namespace

int run_copy(const CopyArguments& arguments, const Globals& globals, const std::vector<GivenDisk>& given) {
    if (!arguments.report.empty() && arguments.options.grow)
        throw_error(Code::kUsage, "--report tells what was copied, and --grow changes it; choose one");
    if (!arguments.report.empty() && !arguments.maps.empty())
        throw_error(Code::kUsage, "--report is of one disk; copy the disks of a set without it");
    if (arguments.shrink && !arguments.options.protect.empty() && !arguments.maps.empty())
        throw_error(Code::kUsage,
                    "--shrink and --protect together are for one disk; copy the disks one by one");
    arguments.peers.check();
    if (!given.empty()) return copy_given(given, arguments, globals);
    const auto pairs = find_pairs(arguments.source, arguments.target, arguments.maps);
    if (!arguments.peers.names.empty() && !has_peer(pairs))
        throw_error(Code::kUsage, "--peer names the machine at the other end; there is no dup:// here");
    if (arguments.peers.streams != 0 && !has_peer(pairs))
        throw_error(Code::kUsage, "--streams is for a copy over the network; there is no dup:// here");
    if (const auto image = image::parse_writable_reference(pairs.front().target))
        return capture(arguments, *image, globals);
    if (const auto peer = wire::parse_peer_reference(pairs.front().target))
        return run_send(arguments, *peer, globals);
    if (arguments.image.any_given())
        throw_error(Code::kUsage,
                    "--sign-key, --expires and --target-class are for a TARGET that is an image");
    return copy_given(open_sources(pairs, arguments), arguments, globals);
}

void add_copy(CLI::App& app, Globals& globals, Action& action) {
    CLI::App* verb = app.add_subcommand("copy", "Duplicate a disk or image onto another and verify it");
    const auto arguments = std::make_shared<CopyArguments>();
    verb->add_option(
        "SOURCE", arguments->source,
        "Block device, raw image file, image (image:STORE#NAME, https://HOST/STORE#NAME) or offer "
        "(dup://HOST/NAME) to read");
    verb->add_option("TARGET", arguments->target,
                     "Block device or raw image file to overwrite, image to add to, or machine that receives "
                     "(dup://HOST)");
    verb->add_option("--map", arguments->maps,
                     "In place of both: SOURCE=TARGET for each of several disks that belong together")
        ->option_text("SOURCE=TARGET")
        ->allow_extra_args(false);
    add_target_options(*verb, *arguments);
    add_luks_options(*verb, arguments->luks,
                     "Give the target's LUKS containers new volume keys, and this key alone");
    add_image_trust_options(*verb, arguments->trust);
    add_new_image_options(*verb, arguments->image);
    add_peer_options(*verb, arguments->peers);
    verb->add_option("--streams", arguments->peers.streams,
                     "Connections to the other machine at a time, 1 to 8 (one for two processors, at most 4)")
        ->check(CLI::Range(1U, wire::kMostStreams).description(""))
        ->option_text("N");
    verb->add_flag("--allow-older", arguments->allow_older,
                   "Take an older version of an image than the target had last");
    verb->add_flag("--if-newer", arguments->if_newer,
                   "Copy nothing if the target had this very version of the image last");
    verb->add_option("--report", arguments->report,
                     "Write digests of what was copied to this new file, for verify --report")
        ->option_text("FILE");
    verb->add_flag("--create", arguments->create, "Make TARGET, a raw image file, if it does not exist");
    // A filesystem that changes while it is made smaller would be neither the old nor the new one.
    CLI::Option* shrink = verb->add_flag(
        "--shrink", arguments->shrink,
        "Onto a smaller target: move partitions, make ext, NTFS and btrfs filesystems smaller");
    verb->add_flag("--busy-source", arguments->busy_source, "Copy a source that is mounted or used as swap")
        ->excludes(shrink);
    add_plan_options(*verb, globals);
    add_json_option(*verb, globals);
    add_progress_option(*verb, globals);
    verb->callback(
        [arguments, &globals, &action] { action = [=, &globals] { return run_copy(*arguments, globals); }; });
}

}  // namespace dupengine::cli
