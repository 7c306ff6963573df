// dupengine copy SOURCE TARGET, or --map SOURCE=TARGET for each of several disks: duplicates disks or images
// onto others and verifies them. See dupengine-copy(8).

#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <deque>
#include <map>
#include <memory>

#include "base/units.h"
#include "block/open.h"
#include "cli/capture.h"
#include "cli/command.h"
#include "cli/confirm.h"
#include "cli/copy_source.h"
#include "cli/copy_view.h"
#include "cli/created_file.h"
#include "cli/disk_pairs.h"
#include "cli/fitted_source.h"
#include "cli/image_class.h"
#include "cli/interrupt.h"
#include "cli/luks_options.h"
#include "cli/progress_view.h"
#include "cli/terminal.h"
#include "engine/apply.h"
#include "engine/grow.h"
#include "engine/refusals.h"
#include "engine/report.h"
#include "layout/content_state.h"

namespace dupengine::cli {
namespace {

struct CopyArguments {
    std::string source, target, report;
    std::vector<std::string> maps;
    engine::CopyOptions options;
    LuksOptions luks;
    ImageTrustOptions trust;
    NewImageOptions image;
    bool busy_source = false;
    bool create = false;
    bool shrink = false;
    bool nice = false;

    engine::BusySource busy() const {
        return busy_source ? engine::BusySource::kAccept : engine::BusySource::kRefuse;
    }
};

// One SOURCE and its TARGET; the target is opened when all that can be refused was.
struct Disk {
    engine::PathPair paths;                // without a source if that is an image
    std::shared_ptr<CopySource> source;    // of several targets, perhaps
    std::unique_ptr<FittedSource> fitted;  // once it is planned
    CreatedFile created;
};

// "50M" as a number for the option behind it.
CLI::Validator size_reader() {
    return {[](std::string& text) {
                try {
                    text = std::to_string(parse_size(text));
                    return std::string();
                } catch (const Error& e) {
                    return std::string(e.what());
                }
            },
            "", "size"};
}

// Processor time and the disks to others first (ionice(1), class idle). Threads made later inherit it.
void go_last() {
    constexpr int kOfThisThread = 1,
                  kIdle = 3 << 13;  // IOPRIO_WHO_PROCESS, IOPRIO_CLASS_IDLE (linux/ioprio.h)
    constexpr int kNicest = 19;
    static_cast<void>(::setpriority(PRIO_PROCESS, 0, kNicest));
    static_cast<void>(::syscall(SYS_ioprio_set, kOfThisThread, 0, kIdle));
}

std::vector<Disk> open_sources(const std::vector<engine::PathPair>& pairs, const CopyArguments& arguments) {
    std::vector<Disk> disks;
    const std::vector<std::size_t> numbers = number_sources(pairs);
    for (std::size_t i = 0; i < pairs.size(); ++i) {
        const std::string& target = pairs[i].target;
        const auto source = numbers[i] < i ? disks[numbers[i]].source
                                           : std::make_shared<CopySource>(pairs[i].source, arguments.trust);
        Disk& disk = disks.emplace_back(Disk{{source->local_path(), target}, source, nullptr, {}});
        if (arguments.create && ::access(target.c_str(), F_OK) != 0)
            disk.created = CreatedFile(target, source->reader().geometry().size_bytes);
    }
    return disks;
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
        const image::OpenImage* image = disk.source->image();
        if (image != nullptr && !image->signed_by.empty())
            refuse_other_class(image->manifest(), *targets.back());
        const block::Reader& source = disk.source->reader();
        disk.fitted =
            std::make_unique<FittedSource>(plaintext.rekey(source, nullptr), source, *targets.back(),
                                           arguments.shrink, arguments.options, globals);
        // That the source is the same does not show that a view of it is.
        const bool can_show_state =
            !arguments.busy_source && !disk.fitted->is_view() && !disk.paths.source.empty();
        pairs.push_back({disk.fitted->reader(), *targets.back(),
                         can_show_state ? layout::content_state(disk.paths.source) : ""});
    }
    engine::CopyOptions options = arguments.options;
    options.plaintext = &plaintext.finder();
    std::vector<engine::CopyPlan> plans = engine::make_plans(pairs, options);
    plaintext.refuse_useless_key();
    for (std::size_t i = 0; i < plans.size(); ++i) {
        engine::refuse_if_growing_is_impossible(plans[i], pairs[i].source, *targets[i]);
        const std::vector<std::string>& changes = disks[i].fitted->notes();
        plans[i].notes.insert(plans[i].notes.begin(), changes.begin(), changes.end());
        plans[i].notes.insert(plans[i].notes.end(), notes[i].begin(), notes[i].end());
        plans[i].notes.insert(plans[i].notes.end(), plaintext.notes().begin(), plaintext.notes().end());
        if (!arguments.busy_source && disks[i].source->could_change_unseen())
            plans[i].notes.push_back(fmt::format(
                "nothing would show that {} is written while it is copied: see to it that nobody does",
                disks[i].paths.source));
    }
    return plans;
}

std::string source_change(const Disk& disk, const CopyArguments& arguments) {
    if (arguments.busy_source) return "";
    if (disk.source->has_changed()) return "was written";
    const std::string uses = engine::name_changing_uses(disk.paths.source);
    return uses.empty() ? "" : "came into use (" + uses + ")";
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

std::vector<engine::CopyReport> execute(const std::vector<engine::CopyPlan>& plans, std::vector<Disk>& disks,
                                        const CopyArguments& arguments, const Globals& globals) {
    const InterruptWatch interrupt;
    std::vector<std::unique_ptr<block::Target>> targets;
    for (std::size_t i = 0; i < disks.size(); ++i)
        targets.push_back(open_target(disks[i], plans[i], arguments));
    Progress progress;
    const ProgressView view(progress, globals.progress);
    const auto grow = [&](const engine::CopyPlan& planned, block::Target& grown) {
        engine::grow_filesystem(planned, grown, interrupt.token());
    };
    std::deque<engine::ApplyContext> contexts;  // jobs refer to them
    std::vector<engine::CopyJob> jobs;
    for (std::size_t i = 0; i < disks.size(); ++i) {
        contexts.push_back({progress, interrupt.token(), std::time(nullptr), grow,
                            [&, i] { return source_change(disks[i], arguments); }});
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

int capture(const CopyArguments& arguments, const image::Reference& target, const Globals& globals) {
    const engine::CopyOptions usual;
    const engine::CopyOptions& options = arguments.options;
    if (!arguments.maps.empty() || !arguments.report.empty() || arguments.shrink || arguments.create ||
        options.grow || options.tolerate_bad_sectors || !options.protect.empty() ||
        options.unused != usual.unused || options.verify != usual.verify || options.delta != usual.delta ||
        options.ignore_target_table || !arguments.luks.new_key_file.empty())
        throw_error(
            Code::kUsage,
            "a TARGET that is an image takes SOURCE, --sign-key, --expires, --target-class, --busy-source, "
            "--luks-key-file, --rate, --nice and the sizes of the work; the rest is of disks");
    if (arguments.nice) go_last();
    return run_capture({arguments.source, target, options, arguments.luks, arguments.trust, arguments.image,
                        arguments.busy_source},
                       globals);
}

int run_copy(const CopyArguments& arguments, const Globals& globals) {
    if (!arguments.report.empty() && arguments.options.grow)
        throw_error(Code::kUsage, "--report tells what was copied, and --grow changes it; choose one");
    if (!arguments.report.empty() && !arguments.maps.empty())
        throw_error(Code::kUsage, "--report is of one disk; copy the disks of a set without it");
    if (arguments.shrink && !arguments.options.protect.empty() && !arguments.maps.empty())
        throw_error(Code::kUsage,
                    "--shrink and --protect together are for one disk; copy the disks one by one");
    const auto pairs = find_pairs(arguments.source, arguments.target, arguments.maps);
    if (const auto image = image::parse_reference(pairs.front().target))
        return capture(arguments, *image, globals);
    if (arguments.image.any_given())
        throw_error(Code::kUsage,
                    "--sign-key, --expires and --target-class are for a TARGET that is an image");
    if (arguments.nice) go_last();  // before the plan, which --shrink works on longest
    // How it was asked decides the form of the answer, not how many disks there happen to be.
    const ReportForm form = arguments.maps.empty() ? ReportForm::kOneDisk : ReportForm::kSet;
    std::vector<Disk> disks = open_sources(pairs, arguments);
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
        return 0;
    }
    std::fflush(stdout);
    if (!globals.yes) confirm_overwrite(name_targets(pairs));
    std::vector<engine::CopyReport> reports = execute(plans, disks, arguments, globals);
    for (std::size_t i = 0; i < disks.size(); ++i)
        if (!block::reread_partitions(pairs[i].target))
            reports[i].notes.emplace_back(
                "the kernel still uses the target's old table: partitions of it are in use; reboot");
    if (globals.json)
        fmt::print("{}\n", copy_json(plans, reports, form));
    else
        fmt::print("{}", draw_reports(reports, plans, style));
    return 0;
}

}  // namespace

void add_copy(CLI::App& app, Globals& globals, Action& action) {
    static const std::map<std::string, engine::Unused> kUnused = {{"discard", engine::Unused::kDiscard},
                                                                  {"zero", engine::Unused::kZero},
                                                                  {"keep", engine::Unused::kKeep}};
    static const std::map<std::string, engine::Verify> kVerify = {
        {"used", engine::Verify::kUsed}, {"all", engine::Verify::kAll}, {"none", engine::Verify::kNone}};
    static const std::map<std::string, engine::Delta> kDelta = {
        {"auto", engine::Delta::kAuto}, {"always", engine::Delta::kAlways}, {"never", engine::Delta::kNever}};
    CLI::App* verb = app.add_subcommand("copy", "Duplicate a disk or image onto another and verify it");
    const auto arguments = std::make_shared<CopyArguments>();
    verb->add_option("SOURCE", arguments->source,
                     "Block device, raw image file or image (image:STORE#NAME) to read");
    verb->add_option("TARGET", arguments->target,
                     "Block device or raw image file to overwrite, or image to add to");
    verb->add_option("--map", arguments->maps,
                     "In place of both: SOURCE=TARGET for each of several disks that belong together")
        ->option_text("SOURCE=TARGET")
        ->allow_extra_args(false);
    verb->add_option("--unused", arguments->options.unused,
                     "What the source doesn't use becomes: discard, zero, keep")
        ->transform(one_of(kUnused))
        ->option_text("WHAT");
    verb->add_option("--verify", arguments->options.verify,
                     "Read back: used (what was copied), all (zeroed ranges too), none")
        ->transform(one_of(kVerify))
        ->option_text("HOW");
    verb->add_option("--delta", arguments->options.delta,
                     "Read the target first and write only what differs: auto, always, never")
        ->transform(one_of(kDelta))
        ->option_text("WHEN");
    verb->add_flag("--grow", arguments->options.grow, "Extend the last filesystem to fill a larger target");
    verb->add_option(
            "--protect", arguments->options.protect,
            "Keep what the target has there: BEGIN+SIZE, BEGIN..END, PARTLABEL or PARTUUID; may be repeated")
        ->option_text("REGION")
        ->allow_extra_args(false);
    add_luks_options(*verb, arguments->luks,
                     "Give the target's LUKS containers new volume keys, and this key alone");
    add_image_trust_options(*verb, arguments->trust);
    add_new_image_options(*verb, arguments->image);
    verb->add_flag("--tolerate-bad-sectors", arguments->options.tolerate_bad_sectors,
                   "Copy what can be read of a failing source; the report names the rest");
    verb->add_option("--rate", arguments->options.tuning.bytes_per_second,
                     "At most this many bytes a second: 50M")
        ->transform(size_reader())
        ->option_text("SIZE");
    verb->add_flag("--nice", arguments->nice,
                   "Let other programs go first, on the processor and on the disks");
    verb->add_option("--workers", arguments->options.tuning.workers, "Threads that copy")
        ->check(CLI::Range(1, 64).description(""))
        ->option_text("N");
    verb->add_option("--depth", arguments->options.tuning.depth, "Chunks under way in each of them")
        ->check(CLI::Range(1, 64).description(""))
        ->option_text("N");
    verb->add_option("--chunk-size", arguments->options.tuning.chunk_bytes,
                     "Size of a chunk, a power of two from 64K to 8M")
        ->transform(size_reader())
        ->check(CLI::Validator(
            [](std::string& text) {
                const std::uint64_t size = std::stoull(text);
                const bool good = size >= 64 * kKiB && size <= 8 * kMiB && std::has_single_bit(size);
                return good ? std::string() : "not a power of two from 64K to 8M";
            },
            "", "chunk size"))
        ->option_text("SIZE");
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
    verb->add_flag("--ignore-target-table", arguments->options.ignore_target_table,
                   "Overwrite a target whose damaged table may name a profile");
    add_plan_options(*verb, globals);
    add_json_option(*verb, globals);
    add_progress_option(*verb, globals);
    verb->callback(
        [arguments, &globals, &action] { action = [=, &globals] { return run_copy(*arguments, globals); }; });
}

}  // namespace dupengine::cli
