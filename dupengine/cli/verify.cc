// dupengine verify SOURCE TARGET: is one disk a copy of the other, and if not, what differs. With one
// argument that disk is checked alone (verify_alone.h). Writes nothing. See dupengine-verify(8).

#include <algorithm>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>

#include "base/units.h"
#include "block/open.h"
#include "cli/command.h"
#include "cli/interrupt.h"
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
    engine::CopyOptions options;
};

std::string comparison_json(const engine::CopyPlan& plan, const Comparison& comparison) {
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

int run_verify(const VerifyArguments& arguments, const Globals& globals) {
    if (arguments.target.empty()) {
        if (arguments.options.verify == engine::Verify::kAll ||
            arguments.options.unused == engine::Unused::kKeep || !arguments.options.protect.empty())
            throw_error(Code::kUsage, "--all, --used and --protect need a TARGET to compare with");
        return verify_alone(arguments.source, arguments.report, globals);
    }
    if (!arguments.report.empty())
        throw_error(Code::kUsage, "--report tells what one disk should hold; give it with SOURCE alone");
    const auto source = block::open_source(arguments.source);
    auto target = block::open_source(arguments.target);
    engine::CopyPlan plan = engine::make_plan(*source, *target, arguments.options);
    // An image file has the sectors of the disk it is of.
    if (!plan.target.geometry.is_block_device)
        target = block::open_source(arguments.target, plan.sector_bytes);
    const InterruptWatch interrupt;
    Progress progress;
    Comparison comparison;
    {
        const ProgressView view(progress, globals.progress);
        comparison = engine::compare_with_plan(plan, *source, *target, progress, interrupt.token());
    }
    if (globals.json)
        fmt::print("{}\n", comparison_json(plan, comparison));
    else
        fmt::print("{}", comparison_text(plan, comparison, look_at_terminal(1).style.charset));
    return comparison.same() ? 0 : static_cast<int>(Code::kIntegrity);
}

}  // namespace

void add_verify(CLI::App& app, Globals& globals, Action& action) {
    CLI::App* verb = app.add_subcommand("verify", "Tell whether a disk is a copy of another, or whole");
    const auto arguments = std::make_shared<VerifyArguments>();
    arguments->options.delta = engine::Delta::kNever;
    verb->add_option("SOURCE", arguments->source,
                     "A block device or raw image file: what was copied, or what to check")
        ->required();
    verb->add_option("TARGET", arguments->target,
                     "What should be a copy of it; without it SOURCE is checked alone");
    verb->add_option("--report", arguments->report, "Without TARGET: what copy --report wrote down")
        ->option_text("FILE");
    verb->add_flag_callback(
        "--all", [arguments] { arguments->options.verify = engine::Verify::kAll; },
        "Read all that the source does not use, not only samples of it");
    verb->add_flag_callback(
        "--used", [arguments] { arguments->options.unused = engine::Unused::kKeep; },
        "Look only at what the source uses");
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
