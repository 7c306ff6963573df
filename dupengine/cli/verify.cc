// dupengine verify SOURCE TARGET: is one disk a copy of the other, and if not, what differs. Writes nothing.
// See dupengine-verify(8).

#include <algorithm>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>

#include "base/units.h"
#include "block/open.h"
#include "cli/command.h"
#include "cli/interrupt.h"
#include "cli/progress_view.h"
#include "cli/shrinking.h"
#include "cli/terminal.h"
#include "engine/compare.h"

namespace dupengine::cli {
namespace {

using engine::Comparison;
using engine::PartitionPlaces;
using Json = nlohmann::ordered_json;

struct VerifyArguments {
    std::string source, target;
    engine::CopyOptions options;
    bool shrink = false;
};

Json extents_json(const block::ExtentSet& extents) {
    Json json = Json::array();
    for (block::Extent e : extents)
        json.push_back({{"begin", e.begin}, {"end", e.end}});
    return json;
}

Json partition_json(const PartitionPlaces& difference) {
    Json files = Json::array();
    for (const layout::FileOwner& file : difference.owners.files)
        files.push_back({{"path", file.path}, {"bytes", file.bytes}});
    Json json = {{"partition", difference.partition},
                 {"filesystem", difference.filesystem},
                 {"bytes_different", difference.extents.total_bytes()},
                 {"files", files},
                 {"bytes_in_no_file", difference.owners.other_bytes},
                 {"extents", extents_json(difference.extents)}};
    if (!difference.owners.reason.empty()) json["no_names_because"] = difference.owners.reason;
    return json;
}

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
        json["partitions"].push_back(partition_json(difference));
    return json.dump(2, ' ', false, Json::error_handler_t::replace);
}

std::string difference_text(const PartitionPlaces& difference, Charset charset) {
    constexpr std::size_t kFilesShown = 20;
    const auto& files = difference.owners.files;
    std::string where = difference.partition == 0 ? "outside the partitions"
                                                  : fmt::format("partition {}", difference.partition);
    if (!difference.filesystem.empty())
        where += fmt::format(" ({})", printable(difference.filesystem, charset));
    std::string text = fmt::format("{}: {} differ\n", where, format_size(difference.extents.total_bytes()));
    for (std::size_t i = 0; i < std::min(files.size(), kFilesShown); ++i)
        text += fmt::format("    {}  {}\n", format_size(files[i].bytes), printable(files[i].path, charset));
    if (files.size() > kFilesShown)
        text += fmt::format("    and {} more files (--json names all)\n", files.size() - kFilesShown);
    if (!difference.owners.reason.empty())
        text += fmt::format("    {}\n", printable(difference.owners.reason, charset));
    else if (difference.owners.other_bytes != 0)
        text += fmt::format("    {} in no file: the filesystem's own structures\n",
                            format_size(difference.owners.other_bytes));
    return text;
}

std::string comparison_text(const engine::CopyPlan& plan, const Comparison& comparison, Charset charset) {
    std::string text;
    for (const std::string& note : plan.notes)
        text += "note: " + printable(note, charset) + "\n";
    for (const std::string& structure : comparison.boot_structures)
        text += structure + ": differs (partition table or boot sector)\n";
    for (const PartitionPlaces& difference : comparison.partitions)
        text += difference_text(difference, charset);
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
    const auto source = block::open_source(arguments.source);
    auto target = block::open_source(arguments.target);
    const engine::Shrunk shrunk =
        shrink_if_asked(arguments.shrink, *source, *target, arguments.options, globals);
    const block::Reader& from = shrunk.view ? *shrunk.view : *source;
    engine::CopyPlan plan = engine::make_plan(from, *target, arguments.options);
    // An image file has the sectors of the disk it is of.
    if (!plan.target.geometry.is_block_device)
        target = block::open_source(arguments.target, plan.sector_bytes);
    const InterruptWatch interrupt;
    Progress progress;
    Comparison comparison;
    {
        const ProgressView view(progress, globals.progress);
        comparison = engine::compare_with_plan(plan, from, *target, progress, interrupt.token());
    }
    if (globals.json)
        fmt::print("{}\n", comparison_json(plan, comparison));
    else
        fmt::print("{}", comparison_text(plan, comparison, look_at_terminal(1).style.charset));
    return comparison.same() ? 0 : static_cast<int>(Code::kIntegrity);
}

}  // namespace

void add_verify(CLI::App& app, Globals& globals, Action& action) {
    CLI::App* verb = app.add_subcommand("verify", "Tell whether one disk or image is a copy of another");
    const auto arguments = std::make_shared<VerifyArguments>();
    arguments->options.delta = engine::Delta::kNever;
    verb->add_option("SOURCE", arguments->source, "What was copied: a block device or raw image file")
        ->required();
    verb->add_option("TARGET", arguments->target, "What should be a copy of it")->required();
    verb->add_flag_callback(
        "--all", [arguments] { arguments->options.verify = engine::Verify::kAll; },
        "Read all that the source does not use, not only samples of it");
    verb->add_flag_callback(
        "--used", [arguments] { arguments->options.unused = engine::Unused::kKeep; },
        "Look only at what the source uses");
    verb->add_flag("--shrink", arguments->shrink, "TARGET was made by copy --shrink");
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
