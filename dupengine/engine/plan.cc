#include "engine/plan.h"

#include <algorithm>

#include "base/units.h"

namespace dupengine::engine {
namespace {

using layout::TableKind;

void refuse_unusable_source(const layout::DiskDescription& source) {
    // A mark beside a table that counts is what is left of a copy onto a disk that has another use by now.
    if (source.incomplete && source.table.kind == TableKind::kNone)
        throw_error(Code::kRefused, "{}: is an unfinished copy of {}; finish that copy first", source.name,
                    source.incomplete->source);
    if (!source.damaged_table.empty())
        throw_error(Code::kSourceIo,
                    "{}: {}; the source is never repaired, copy it with a tool for damaged disks",
                    source.name, source.damaged_table);
}

void refuse_unusable_target(const layout::DiskDescription& target, const CopyOptions& options) {
    constexpr std::uint64_t kSmallestDisk =
        256 * kKiB;  // room for the mark at both ends, and something between
    if (target.geometry.size_bytes < kSmallestDisk)
        throw_error(Code::kRefused, "{}: {} bytes are too few to be a target", target.name,
                    target.geometry.size_bytes);
    if (!target.damaged_table.empty() && !target.incomplete && !options.ignore_target_table)
        throw_error(Code::kRefused,
                    "{}: {}; a profile on it could not be found. Repair the table, or give it up with "
                    "--ignore-target-table",
                    target.name, target.damaged_table);
}

// A profile that only a GPT out of force names (its first MiB was wiped, or an MBR was written over it) would
// be lost without a word.
void refuse_hidden_profile(const block::Reader& disk, const layout::DiskDescription& target,
                           const CopyOptions& options) {
    if (target.table.kind == TableKind::kGpt || target.incomplete || options.ignore_target_table) return;
    const auto profiles = layout::find_profiles_in_any_gpt(disk);
    if (!profiles.empty())
        throw_error(Code::kRefused,
                    "{}: holds a GPT that is not in force and names a profile at {}. Repair the table "
                    "(sgdisk), or give "
                    "the profile up with --ignore-target-table",
                    target.name, profiles.front().extent.text());
}

// Extents that are not whole sectors of the target could be neither kept nor written around.
void refuse_broken_sectors(const CopyPlan& plan) {
    for (const Kept& k : plan.kept)
        if (k.extent.begin % plan.sector_bytes != 0 || k.extent.end % plan.sector_bytes != 0)
            throw_error(Code::kRefused, "{}: {} {} is not made of whole {} byte sectors", plan.target.name,
                        k.name, k.extent.text(), plan.sector_bytes);
    // The mark must be able to name all that is kept; better said now than after the first write.
    layout::encode_mark(mark_for(plan, kLongestTime, {}), plan.sector_bytes);
}

// Both sides must speak of the same sectors (refit.h sees to that before); a file without a table or a mark
// has no opinion.
std::uint32_t agree_on_sectors(const layout::DiskDescription& source, const layout::DiskDescription& target) {
    const auto sectors_of = [](const layout::DiskDescription& disk) -> std::uint32_t {
        if (disk.geometry.is_block_device) return disk.geometry.logical_sector_bytes;
        if (disk.table.kind != TableKind::kNone) return disk.table.sector_bytes;
        return disk.incomplete ? disk.incomplete->sector_bytes : 0;
    };
    const std::uint32_t from = sectors_of(source);
    const std::uint32_t to = sectors_of(target);
    if (from != 0 && to != 0 && from != to)
        throw_error(Code::kRefused,
                    "{} has sectors of {} bytes and {} has {}: a table and filesystems made for one cannot "
                    "be used on "
                    "the other",
                    source.name, from, target.name, to);
    return from != 0 ? from : to != 0 ? to : 512;
}

void note_source_state(CopyPlan& plan) {
    for (const std::string& problem : plan.source.table.problems)
        plan.notes.push_back("source: " + problem);
    for (const std::string& problem : plan.target.table.problems)
        plan.notes.push_back("target: " + problem);
    const auto note = [&](const std::string& where, const layout::UsedExtents& used) {
        if (!used.note.empty()) plan.notes.push_back(fmt::format("{}: {}", where, used.note));
    };
    if (plan.source.table.kind == TableKind::kNone) {
        note("source", plan.source.used);
        if (plan.source.signature && plan.source.used.whole)
            plan.notes.push_back("source: copied whole: " + plan.source.used.reason);
    }
    for (const auto& p : plan.source.partitions) {
        note(fmt::format("partition {}", p.partition.number), p.used);
        const std::uint64_t size = p.partition.extent.size(), covered = p.used.filesystem_bytes;
        if (!p.used.whole && covered != 0 && size > covered && size - covered >= kMiB)
            plan.notes.push_back(fmt::format("partition {}: the {} behind its filesystem are copied, too",
                                             p.partition.number, format_size(size - covered)));
    }
    if (plan.target.incomplete)
        plan.notes.push_back(fmt::format(
            "the target holds an unfinished copy of {}; this one {}", plan.target.incomplete->source,
            plan.delta ? "goes on with it: what is there already is not written again" : "starts anew"));
    if (plan.options.verify == Verify::kNone)
        plan.notes.emplace_back("nothing will be read back (--verify=none)");
}

}  // namespace

block::ProtectedRegions CopyPlan::protected_regions() const {
    block::ProtectedRegions regions;
    for (const Kept& k : kept)
        regions.add(k.name, k.extent);
    return regions;
}

layout::IncompleteMark mark_for(const CopyPlan& plan, std::int64_t started,
                                const std::optional<layout::IncompleteMark::Journal>& journal) {
    layout::IncompleteMark mark;
    mark.source = plan.source.name;
    mark.started = started;
    mark.size_bytes = plan.target.geometry.size_bytes;
    mark.kept = plan.kept;
    mark.journal = journal;
    return mark;
}

codec::Sha256 fingerprint_of(const block::Reader& disk) {
    codec::Sha256Stream stream;
    // Not the sector size: the same file is looked at before and after its sectors are agreed on.
    const std::string shape = fmt::format("{};", disk.geometry().size_bytes);
    stream.update(as_bytes(shape));
    const std::uint64_t size = disk.geometry().size_bytes;
    const std::uint64_t ends = std::min<std::uint64_t>(256 * kKiB, size);
    for (block::Extent part : {block::Extent{0, ends}, block::Extent{size - ends, size}})
        stream.update(block::read_extent(disk, part));
    return stream.finish();
}

namespace {

// The target is open as a Reader here, but what cannot be read of it is its own fault and not the source's.
template <typename Work>
auto blaming_the_target(const Work& work) {
    try {
        return work();
    } catch (Error& e) {
        if (e.code() == Code::kSourceIo) e.set_code(Code::kTargetIo);
        throw;
    }
}

void look_at_target(CopyPlan& plan, const block::Reader& target) {
    plan.target_fingerprint = fingerprint_of(target);
    plan.target = layout::describe_disk(target, layout::Depth::kTable);
    refuse_unusable_target(plan.target, plan.options);
    refuse_hidden_profile(target, plan.target, plan.options);
}

CopyPlan plan_one(const DiskPair& pair, layout::DiskDescription source, const CopyOptions& options) {
    CopyPlan plan;
    plan.options = options;
    plan.options.plaintext = nullptr;  // the source has been looked at, and a plan may live longer
    plan.source = std::move(source);
    refuse_unusable_source(plan.source);
    blaming_the_target([&] { look_at_target(plan, pair.target); });
    plan.sector_bytes = agree_on_sectors(plan.source, plan.target);
    // What stays must be known before anything is laid out around it.
    plan.kept = find_kept_regions(plan.target, options);
    refuse_broken_sectors(plan);
    fit_table(plan, pair.source);
    find_spans(plan);
    skip_holes(plan, pair.source);
    // Last, because it takes its places out of both spans.
    hold_back_boot_structures(plan, pair.source);
    decide_delta(plan, pair.source, pair.target);
    note_source_state(plan);
    plan_journal(plan, pair.target);
    return plan;
}

std::vector<CopyOptions> options_for(std::span<const DiskPair> pairs, const CopyOptions& options) {
    if (pairs.size() == 1 || options.protect.empty()) return {pairs.size(), options};
    std::vector<layout::DiskDescription> targets;
    for (const DiskPair& pair : pairs)
        targets.push_back(
            blaming_the_target([&] { return layout::describe_disk(pair.target, layout::Depth::kTable); }));
    return share_out_protection(targets, options);
}

}  // namespace

std::vector<CopyPlan> make_plans(std::span<const DiskPair> pairs, const CopyOptions& options) {
    std::vector<CopyOptions> shares = options_for(pairs, options);
    for (std::size_t i = 0; i < pairs.size(); ++i)
        if (pairs[i].source_state) shares[i].source_state = pairs[i].source_state;
    std::vector<const block::Reader*> sources;  // each once, though it may be copied to several targets
    std::vector<std::size_t> source_of;
    for (const DiskPair& pair : pairs) {
        const auto known = std::find(sources.begin(), sources.end(), &pair.source);
        source_of.push_back(static_cast<std::size_t>(known - sources.begin()));
        if (known == sources.end()) sources.push_back(&pair.source);
    }
    const auto described = layout::describe_disks(
        sources, options.tolerate_bad_sectors ? layout::Depth::kSalvage : layout::Depth::kUsedExtents,
        options.plaintext);
    std::vector<CopyPlan> plans;
    for (std::size_t i = 0; i < pairs.size(); ++i)
        plans.push_back(plan_one(pairs[i], described[source_of[i]], shares[i]));
    return plans;
}

CopyPlan make_plan(const block::Reader& source, const block::Reader& target, const CopyOptions& options) {
    const DiskPair pair{source, target};
    return std::move(make_plans({&pair, 1}, options).front());
}

}  // namespace dupengine::engine
