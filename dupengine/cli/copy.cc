// dupengine copy SOURCE TARGET, or --map SOURCE=TARGET for each of several disks: duplicates disks or images
// onto others and verifies them. See dupengine-copy(8).

#include <unistd.h>

#include <algorithm>
#include <memory>

#include "block/open.h"
#include "cli/capture.h"
#include "cli/confirm.h"
#include "cli/copy_disks.h"
#include "cli/copy_view.h"
#include "cli/disk_pairs.h"
#include "cli/image_target.h"
#include "cli/peers_option.h"
#include "cli/send.h"
#include "cli/terminal.h"
#include "cli/told_peers.h"
#include "engine/report.h"

namespace dupengine::cli {
namespace {

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

// With --if-newer: of a version that did not come up there, the one that did.
void go_back_from_bad_versions(std::vector<GivenDisk>& given, const std::vector<engine::PathPair>& pairs,
                               const CopyArguments& arguments) {
    for (std::size_t i = 0; i < given.size(); ++i) {
        const image::OpenImage* image = given[i].source->image();
        auto reference = image::parse_reference(pairs[i].source);
        if (image == nullptr || image->signed_by.empty() || !reference) continue;
        const image::Manifest manifest = image->manifest();
        reference->version = way_back_from(manifest, given[i].target);
        if (!reference->version) continue;
        reference->name = manifest.name;
        fmt::print(stderr, "dupengine: {}@{} did not come up on {}: back to version {}\n", manifest.name,
                   manifest.version, given[i].target, *reference->version);
        given[i].source =
            std::make_shared<CopySource>(reference->endpoint(), arguments.trust, arguments.peers);
    }
}

std::vector<CopyDisk> make_disks(const std::vector<GivenDisk>& given, const CopyArguments& arguments) {
    std::vector<CopyDisk> disks;
    for (const auto& [source, target] : given) {
        CopyDisk& disk = disks.emplace_back(CopyDisk{{source->local_path(), target}, source, nullptr, {}});
        if (arguments.create && ::access(target.c_str(), F_OK) != 0)
            disk.created = CreatedFile(target, source->reader().geometry().size_bytes);
    }
    return disks;
}

void remember_versions(const std::vector<CopyDisk>& disks) {
    for (const CopyDisk& disk : disks) {
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

std::vector<engine::PathPair> paths_of(const std::vector<CopyDisk>& disks) {
    std::vector<engine::PathPair> paths;
    for (const CopyDisk& disk : disks)
        paths.push_back(disk.paths);
    return paths;
}

bool has_peer(const std::vector<engine::PathPair>& pairs) {
    return std::ranges::any_of(pairs, [](const engine::PathPair& pair) {
        return wire::parse_peer_reference(pair.source) || wire::parse_peer_reference(pair.target);
    });
}

// Who sent waits as long as the person thinks.
void ask_person(const std::vector<CopyDisk>& disks) {
    Progress asking;
    asking.begin("asking", 0);
    const ToldPeers told(remotes_of(disks), asking, {});
    confirm_overwrite(name_targets(paths_of(disks)));
}

// With --if-newer: whether all targets have what they would get. Both forms of the answer say so.
bool nothing_to_copy(const std::vector<CopyDisk>& disks, const Globals& globals) {
    for (const CopyDisk& disk : disks) {
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
    for (const CopyDisk& disk : disks)
        fmt::print("nothing to copy: {} has {}@{}\n", disk.paths.target, trusted_manifest(disk)->name,
                   trusted_manifest(disk)->version);
    return true;
}

// From the plan to the report, once it is clear what is copied where.
int copy_disks(std::vector<CopyDisk>& disks, const CopyArguments& arguments, const Globals& globals) {
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
        for (const CopyDisk& disk : disks)
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
    std::vector<engine::CopyReport> reports = execute_plans(plans, disks, arguments, globals);
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
    std::vector<CopyDisk> disks = make_disks(given, arguments);
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
    std::vector<GivenDisk> opened = open_sources(pairs, arguments);
    if (arguments.if_newer) go_back_from_bad_versions(opened, pairs, arguments);
    return copy_given(opened, arguments, globals);
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
                   "Copy nothing if the target had this very version of the image last, and none that did "
                   "not come up there");
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
