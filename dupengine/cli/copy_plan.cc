#include "block/open.h"
#include "cli/copy_disks.h"
#include "cli/image_target.h"
#include "engine/grow.h"

namespace dupengine::cli {
namespace {

// Rounds name places of the source: it has to be copied byte for byte, and nothing may be done to the copy
// before they are over.
void refuse_changes_of_a_hot_disk(const CopyDisk& disk, const CopyArguments& arguments) {
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

}  // namespace

const image::Manifest* trusted_manifest(const CopyDisk& disk) {
    const image::OpenImage* image = disk.source->image();
    return image != nullptr && !image->signed_by.empty() ? &image->manifest() : nullptr;
}

std::vector<engine::CopyPlan> plan_disks(std::vector<CopyDisk>& disks, const CopyArguments& arguments,
                                         SourcePlaintext& plaintext, const Globals& globals) {
    std::vector<engine::PathPair> paths;
    for (const CopyDisk& disk : disks) {
        block::refuse_if_read_only(disk.paths.target);
        paths.push_back(disk.paths);
    }
    const auto notes = engine::refuse_if_in_use(paths, arguments.busy());
    if (!arguments.busy_source)
        for (CopyDisk& disk : disks)
            disk.source->take_alone();
    std::vector<std::unique_ptr<block::Reader>> targets;
    std::vector<engine::DiskPair> pairs;
    for (CopyDisk& disk : disks) {
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

}  // namespace dupengine::cli
