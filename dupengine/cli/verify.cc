// dupengine verify SOURCE TARGET, or --map SOURCE=TARGET for each of several disks: is one a copy of the
// other, and if not, what differs. With one argument that disk is checked alone (verify_alone.h). Writes
// nothing. See dupengine-verify(8).

#include <algorithm>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>

#include "base/units.h"
#include "block/open.h"
#include "cli/command.h"
#include "cli/copy_source.h"
#include "cli/disk_pairs.h"
#include "cli/fitted_source.h"
#include "cli/image_view.h"
#include "cli/interrupt.h"
#include "cli/luks_options.h"
#include "cli/peers_option.h"
#include "cli/places_view.h"
#include "cli/progress_view.h"
#include "cli/terminal.h"
#include "cli/text.h"
#include "cli/verify_alone.h"
#include "engine/compare.h"

namespace dupengine::cli {
namespace {

using engine::Comparison;
using engine::PartitionPlaces;
using Json = nlohmann::ordered_json;

struct VerifyArguments {
    std::string source, target, report;
    std::vector<std::string> maps;
    engine::CopyOptions options;
    bool shrink = false;
    LuksOptions luks;
    ImageTrustOptions trust;
    PeerOptions peers;
};

Json comparison_json(const engine::CopyPlan& plan, const Comparison& comparison) {
    Json json = {{"result", comparison.same() ? "same" : "different"},
                 {"source", plan.source.name},
                 {"target", plan.target.name},
                 {"bytes_compared", comparison.bytes_compared},
                 {"bytes_different", comparison.bytes_different},
                 {"boot_structures", comparison.boot_structures},
                 {"partitions", Json::array()},
                 {"not_zero", extents_json(comparison.not_zero)},
                 {"notes", plan.notes}};
    for (const PartitionPlaces& difference : comparison.partitions)
        json["partitions"].push_back(places_json(difference, "bytes_different"));
    return json;
}

// How it was asked decides the form, not how many disks there happen to be.
std::string report_json(const Json& disks, bool is_set) {
    Json json = disks.front();
    if (is_set) {
        const bool same = std::all_of(disks.begin(), disks.end(),
                                      [](const Json& disk) { return disk["result"] == "same"; });
        json = {{"result", same ? "same" : "different"}, {"disks", disks}};
    }
    return json.dump(2, ' ', false, Json::error_handler_t::replace);
}

std::string comparison_text(const engine::CopyPlan& plan, const Comparison& comparison, Charset charset) {
    std::string text;
    for (const std::string& note : plan.notes)
        text += "note: " + printable(note, charset) + "\n";
    for (const std::string& structure : comparison.boot_structures)
        text += structure + ": differs (partition table or boot sector)\n";
    for (const PartitionPlaces& difference : comparison.partitions)
        text += places_lines(difference, "differ", charset);
    if (!comparison.not_zero.empty())
        text +=
            fmt::format("{} that the source does not use are not zero, the first at {}\n",
                        format_size(comparison.not_zero.total_bytes()), comparison.not_zero.begin()->begin);
    for (const engine::Kept& kept : plan.kept)
        text += fmt::format("not compared: {}\n", printable(kept.name, charset));
    return text + fmt::format("{}: {} is {}a copy of {}; compared {}\n",
                              comparison.same() ? "same" : "different", printable(plan.target.name, charset),
                              comparison.same() ? "" : "not ", printable(plan.source.name, charset),
                              format_size(comparison.bytes_compared));
}

void check_peers(const PeerOptions& peers, const std::vector<engine::PathPair>& paths) {
    peers.check();
    const auto is_elsewhere = [](const engine::PathPair& pair) {
        return wire::parse_peer_reference(pair.source).has_value();
    };
    if (!peers.names.empty() && std::none_of(paths.begin(), paths.end(), is_elsewhere))
        throw_error(Code::kUsage, "--peer names the machine at the other end; there is no dup:// here");
}

// The disks of one command, opened and planned as their copy was.
struct OpenDisks {
    std::vector<std::unique_ptr<CopySource>> sources;  // null: one that came before
    std::vector<std::unique_ptr<block::Reader>> targets;
    std::vector<std::unique_ptr<FittedSource>> fitted;
    std::vector<engine::DiskPair> pairs;
    std::vector<engine::CopyPlan> plans;
};

OpenDisks open_disks(const std::vector<engine::PathPair>& paths, const VerifyArguments& arguments,
                     const Globals& globals) {
    OpenDisks disks;
    SourcePlaintext plaintext(arguments.luks);
    const std::vector<std::size_t> numbers = number_sources(paths);
    for (std::size_t i = 0; i < paths.size(); ++i) {
        disks.sources.push_back(
            numbers[i] < i ? nullptr
                           : std::make_unique<CopySource>(paths[i].source, arguments.trust, arguments.peers));
        disks.targets.push_back(block::open_source(paths[i].target));
        const block::Reader& source = disks.sources[numbers[i]]->reader();
        const block::Reader& target = *disks.targets[i];
        disks.fitted.push_back(std::make_unique<FittedSource>(
            plaintext.rekey(source, &target), source, target, arguments.shrink, arguments.options, globals));
        disks.pairs.push_back({disks.fitted[i]->reader(), *disks.targets[i]});
    }
    engine::CopyOptions looking = arguments.options;
    looking.plaintext = &plaintext.finder();
    disks.plans = engine::make_plans(disks.pairs, looking);
    plaintext.refuse_useless_key();
    for (std::size_t i = 0; i < paths.size(); ++i) {
        const std::vector<std::string>& changes = disks.fitted[i]->notes();
        disks.plans[i].notes.insert(disks.plans[i].notes.begin(), changes.begin(), changes.end());
    }
    return disks;
}

std::vector<Comparison> compare_disks(const std::vector<engine::PathPair>& paths, const OpenDisks& disks,
                                      ProgressStyle style) {
    const InterruptWatch interrupt;
    for (const auto& source : disks.sources)
        if (source != nullptr) source->set_stop(interrupt.token());
    Progress progress;
    const ProgressView view(progress, style);
    std::vector<Comparison> comparisons;
    const auto count = static_cast<unsigned>(paths.size());
    for (unsigned i = 0; i < count; ++i) {
        const engine::CopyPlan& plan = disks.plans[i];
        // An image file has the sectors of the disk it is of.
        const auto image = plan.target.geometry.is_block_device
                               ? nullptr
                               : block::open_source(paths[i].target, plan.sector_bytes);
        if (count > 1) progress.set_part(i + 1, count);
        comparisons.push_back(engine::compare_with_plan(plan, disks.pairs[i].source,
                                                        image ? *image : disks.pairs[i].target, progress,
                                                        interrupt.token()));
    }
    for (const auto& source : disks.sources)
        if (source != nullptr) source->finish();
    return comparisons;
}

bool compares(const VerifyArguments& arguments) {
    if (!arguments.target.empty() || !arguments.maps.empty()) {
        if (!arguments.report.empty())
            throw_error(Code::kUsage, "--report tells what one disk should hold; give it with SOURCE alone");
        return true;
    }
    if (arguments.options.verify == engine::Verify::kAll ||
        arguments.options.unused == engine::Unused::kKeep || !arguments.options.protect.empty() ||
        !arguments.luks.key_files.empty() || !arguments.luks.new_key_file.empty() || arguments.shrink ||
        !arguments.peers.names.empty() || arguments.trust.format != image::SourceFormat::kAuto)
        throw_error(Code::kUsage,
                    "--all, --used, --shrink, --protect, --luks-key-file, --luks-new-key-file, --peer and "
                    "--source-format need a TARGET to compare with");
    if (arguments.source.empty())
        throw_error(Code::kUsage, "verify needs a SOURCE, alone or with a TARGET, or --map SOURCE=TARGET");
    return false;
}

int run_verify(const VerifyArguments& arguments, const Globals& globals) {
    if (!compares(arguments)) {
        if (const auto reference = image::parse_reference(arguments.source)) {
            if (!arguments.report.empty()) throw_error(Code::kUsage, "--report is for a disk");
            return verify_image(*reference, arguments.trust, globals);
        }
        return verify_alone(arguments.source, arguments.report, globals);
    }
    const auto paths = find_pairs(arguments.source, arguments.target, arguments.maps);
    check_peers(arguments.peers, paths);
    const OpenDisks disks = open_disks(paths, arguments, globals);
    const std::vector<Comparison> comparisons = compare_disks(paths, disks, globals.progress);
    Json reports = Json::array();
    for (std::size_t i = 0; i < paths.size(); ++i)
        if (globals.json)
            reports.push_back(comparison_json(disks.plans[i], comparisons[i]));
        else
            fmt::print("{}",
                       comparison_text(disks.plans[i], comparisons[i], look_at_terminal(1).style.charset));
    if (globals.json) fmt::print("{}\n", report_json(reports, !arguments.maps.empty()));
    const bool same = std::all_of(comparisons.begin(), comparisons.end(),
                                  [](const Comparison& comparison) { return comparison.same(); });
    return same ? 0 : static_cast<int>(Code::kIntegrity);
}

}  // namespace

void add_verify(CLI::App& app, Globals& globals, Action& action) {
    CLI::App* verb = app.add_subcommand("verify", "Tell whether a disk is a copy of another, or whole");
    const auto arguments = std::make_shared<VerifyArguments>();
    arguments->options.delta = engine::Delta::kNever;
    verb->add_option("SOURCE", arguments->source,
                     "A block device or raw image file: what was copied, or what to check");
    verb->add_option("TARGET", arguments->target,
                     "What should be a copy of it; without it SOURCE is checked alone");
    verb->add_option("--report", arguments->report, "Without TARGET: what copy --report wrote down")
        ->option_text("FILE");
    verb->add_option("--map", arguments->maps,
                     "In place of both: SOURCE=TARGET for each of several disks that belong together")
        ->option_text("SOURCE=TARGET")
        ->allow_extra_args(false);
    verb->add_flag_callback(
        "--all", [arguments] { arguments->options.verify = engine::Verify::kAll; },
        "Read all that the source does not use, not only samples of it");
    verb->add_flag_callback(
        "--used", [arguments] { arguments->options.unused = engine::Unused::kKeep; },
        "Look only at what the source uses");
    verb->add_flag("--shrink", arguments->shrink, "TARGET was made by copy --shrink");
    add_luks_options(*verb, arguments->luks,
                     "TARGET was made by copy with this option; the key opens its LUKS containers");
    add_image_trust_options(*verb, arguments->trust);
    add_peer_options(*verb, arguments->peers);
    verb->add_option("--protect", arguments->options.protect,
                     "Not part of the copy: BEGIN+SIZE, BEGIN..END, PARTLABEL or PARTUUID; may be repeated")
        ->option_text("REGION")
        ->allow_extra_args(false);
    add_json_option(*verb, globals);
    add_progress_option(*verb, globals);
    verb->callback([arguments, &globals, &action] {
        action = [=, &globals] { return run_verify(*arguments, globals); };
    });
}

}  // namespace dupengine::cli
