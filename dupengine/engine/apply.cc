#include "engine/apply.h"

#include "engine/resume.h"

namespace dupengine::engine {
namespace {

void refuse_if_changed(const CopyPlan& plan, const block::Reader& source, const block::Target& target) {
    if (source.geometry().size_bytes != plan.source.geometry.size_bytes)
        throw_error(Code::kRefused, "{}: its size changed since the plan was made", source.name());
    if (fingerprint_of(target) != plan.target_fingerprint)
        throw_error(Code::kRefused, "{}: changed since the plan was made; plan again", target.name());
    // The guard must stand where the plan says: a plan is never applied to a target that was opened for
    // another.
    for (const Kept& k : plan.kept)
        if (target.protected_regions().touched_by(k.extent) == nullptr)
            throw_error(Code::kInternal, "{}: {} is not under guard", target.name(), k.name);
}

// What is read of a source that changes may be half old and half new: never called a copy.
void stop_if_source_changed(const block::Reader& source, const ApplyContext& context, Code code,
                            const char* what) {
    const std::string change = context.source_change ? context.source_change() : "";
    if (!change.empty()) throw_error(code, "{}: {} {}", source.name(), change, what);
}

// Large regions take their time: shown, and open to an interruption.
codec::Sha256 digest_region(block::Extent extent, const block::Reader& target, ApplyContext& context) {
    return codec::sha256_of(target, extent, [&](std::uint64_t bytes) {
        context.progress.advance(bytes);
        if (context.stop.stop_requested())
            throw_error(Code::kInterrupted, "stopped on request; run the same command again");
    });
}

std::vector<ProtectedDigest> digest_protected(const CopyPlan& plan, const block::Reader& target,
                                              ApplyContext& context) {
    std::vector<ProtectedDigest> digests;
    if (!plan.kept.empty())
        context.progress.begin("protect", plan.protected_regions().extents().total_bytes());
    for (const Kept& k : plan.kept) {
        const codec::Sha256 digest = digest_region(k.extent, target, context);
        digests.push_back({k.name, k.extent, digest, digest});
    }
    return digests;
}

void compare_protected(std::vector<ProtectedDigest>& digests, const block::Reader& target,
                       ApplyContext& context) {
    std::uint64_t total = 0;
    for (const ProtectedDigest& d : digests)
        total += d.extent.size();
    if (!digests.empty()) context.progress.begin("protect", total);
    for (ProtectedDigest& d : digests) {
        d.after = digest_region(d.extent, target, context);
        if (d.after != d.before)
            throw_error(Code::kIntegrity,
                        "{}: the protected region {} {} changed during the copy: {} became {}", target.name(),
                        d.name, d.extent.text(), to_hex(d.before), to_hex(d.after));
    }
}

// First the end, then the start: until the first flush has returned the old table still stands, and after it
// the mark does, so what must be kept can always be found.
using MarkedJournal = std::optional<layout::IncompleteMark::Journal>;
void mark_unfinished(const CopyPlan& plan, block::Target& target, std::int64_t now,
                     const MarkedJournal& journal) {
    layout::IncompleteMark mark;
    mark.source = plan.source.name;
    mark.started = now;
    mark.size_bytes = target.geometry().size_bytes;
    mark.kept = plan.kept;
    mark.journal = journal;
    block::Geometry geometry = target.geometry();
    geometry.logical_sector_bytes = plan.sector_bytes;
    const Bytes content = layout::encode_mark(mark, plan.sector_bytes);
    target.write(layout::mark_extent_tail(geometry).begin, content);
    target.flush();
    target.write(layout::mark_extent_head(geometry).begin, content);
    target.write(0, Bytes(plan.sector_bytes));
    target.flush();
}

void read_back(const BootStage& stage, const block::Target& target) {
    for (const auto& piece : stage.pieces) {
        Bytes content(piece.content.size());
        target.read_from_medium(piece.offset, content);
        if (content != piece.content)
            throw_error(Code::kIntegrity, "{}: the {} does not read back as it was written", target.name(),
                        stage.name);
    }
}

// Each stage is on the medium, and seen to be, before the next one begins.
std::uint64_t write_boot_structures(const CopyPlan& plan, block::Target& target) {
    std::uint64_t verified = 0;
    for (const BootStage& stage : plan.boot) {
        for (const auto& piece : stage.pieces)
            target.write(piece.offset, piece.content);
        target.flush();
        if (plan.options.verify == Verify::kNone) continue;
        read_back(stage, target);
        for (const auto& piece : stage.pieces)
            verified += piece.content.size();
    }
    return verified;
}

// What failed after the disk began to look like one takes that look away again, if it still can.
template <typename Work>
void marked_if_it_fails(const CopyPlan& plan, block::Target& target, std::int64_t now, Work&& work) {
    try {
        work();
    } catch (...) {
        try {
            mark_unfinished(plan, target, now, {});
        } catch (const Error&) {
            // The medium takes no more writes; the first failure is what is told.
        }
        throw;
    }
}

void grow(const CopyPlan& plan, const block::Target& target, ApplyContext& context) {
    if (!plan.grow || !context.grow) return;
    context.progress.begin("grow", 0);
    context.grow(plan, target);
}

// An error says which files the unreadable sectors belong to, where that can be found out.
Moved copy_and_name_bad_sectors(const CopyPlan& plan, const block::Reader& source, block::Target& target,
                                const PipelineOptions& options, ApplyContext& context, BadSectors& bad,
                                ChunkDigests known, Journal* journal) {
    try {
        return copy_data(source, target, plan.data, options, context.progress, context.stop, bad,
                         std::move(known), journal);
    } catch (const Error& e) {
        const block::ExtentSet extents = bad.extents();
        if (e.code() != Code::kSourceIo || extents.empty()) throw;
        std::string where;
        try {
            where = name_places(sort_by_partition(plan, source, extents));
        } catch (const Error&) {
            // The sectors that hold the names cannot be read either.
        }
        throw_error(Code::kSourceIo, "{}{}; --tolerate-bad-sectors copies everything else", e.what(),
                    where.empty() ? "" : " (" + where + ")");
    }
}

PipelineOptions choose_options(const CopyPlan& plan, const block::Reader& source,
                               const block::Reader& target) {
    Tuning tuning = plan.options.tuning;
    if (plan.journal) tuning.chunk_bytes = plan.journal->chunk_bytes;  // its records are of such chunks
    PipelineOptions options =
        choose_pipeline(source.geometry(), target.geometry(), plan.data.total_bytes(), tuning);
    options.tolerate_bad_sectors = plan.options.tolerate_bad_sectors;
    options.differences_only = plan.delta;
    options.sample_zeros = options.sample_equal = plan.options.verify == Verify::kUsed;
    options.read_back = plan.options.verify != Verify::kNone;
    options.digest_equal = plan.journal && plan.target.incomplete;
    if (plan.options.unused == Unused::kZero) options.zeroing = block::Device::Zeroing::kAllocate;
    return options;
}

// Returns how much was verified of the data and of `zero`.
std::uint64_t verify(const CopyPlan& plan, const block::Reader& target, const Moved& moved,
                     const block::ExtentSet& zero, PipelineOptions options, ApplyContext& context) {
    context.progress.begin("verify", plan.data.total_bytes() + zero.total_bytes());
    verify_data(target, plan.data, moved.chunks, options, context.progress, context.stop);
    block::ExtentSet unused = zero, zero_used = zero;
    unused.erase(plan.zero_used);
    zero_used.erase(unused);
    const std::uint64_t sampled = verify_zero(target, unused, options, context.progress, context.stop);
    options.sample_zeros = false;
    return plan.data.total_bytes() + sampled +
           verify_zero(target, zero_used, options, context.progress, context.stop);
}

// All but the boot structures: on the medium, and seen to be, when this returns.
void copy_and_verify(const CopyPlan& plan, const block::Reader& source, block::Target& target,
                     ApplyContext& context, CopyReport& report) {
    const PipelineOptions options = choose_options(plan, source, target);
    if (plan.journal && plan.journal->continues) context.progress.begin("resume", plan.journal->bytes_named);
    Resumption resumed =
        take_up_journal(plan, source, target, options, context.progress, context.stop, context.now);
    if (!resumed.note.empty()) report.notes.push_back(resumed.note);
    report.bytes_resumed = resumed.bytes;
    std::optional<Journal> journal;
    block::ExtentSet zero = plan.zero;
    if (resumed.journal) {
        journal.emplace(target, *resumed.journal, resumed.known, context.journal_pace);
        zero.erase(resumed.journal->place);  // in use until the end
    }

    mark_unfinished(plan, target, context.now, resumed.journal);
    // Zeroing first: on a device that deallocates, the writes that follow find room.
    context.progress.begin("clear", zero.total_bytes());
    zero_ranges(target, zero, options, context.progress, context.stop);
    context.progress.begin("copy", plan.data.total_bytes() - resumed.bytes);
    BadSectors bad;
    const Moved moved =
        copy_and_name_bad_sectors(plan, source, target, options, context, bad,
                                  std::move(resumed.known.chunks), journal ? &*journal : nullptr);
    report.bad_sectors = sort_by_partition(plan, source, bad.extents());
    report.bytes_read = moved.bytes_read + resumed.bytes_read;
    report.bytes_equal = moved.bytes_equal + resumed.bytes;
    context.progress.begin("flush", 0);
    target.flush();
    if (journal) journal->record_flushed(moved.chunks.digests);
    if (plan.options.verify != Verify::kNone)
        report.bytes_verified = verify(plan, target, moved, zero, options, context);
    stop_if_source_changed(
        source, context, Code::kIntegrity,
        "while it was copied; the target is marked unfinished, run the same command again");
    // Before a filesystem grows over its place.
    if (journal) report.bytes_verified += journal->erase(options.zeroing);
}

}  // namespace

CopyReport apply_plan(const CopyPlan& plan, const block::Reader& source, block::Target& target,
                      ApplyContext& context) {
    const auto start = std::chrono::steady_clock::now();
    refuse_if_changed(plan, source, target);
    CopyReport report;
    report.source = source.name();
    report.target = target.name();
    report.bytes_used = plan.bytes_used;
    report.notes = plan.notes;
    report.protected_regions = digest_protected(plan, target, context);
    stop_if_source_changed(source, context, Code::kRefused, "since the plan was made; plan again");
    if (context.stop.stop_requested())
        throw_error(Code::kRefused, "stopped on request before the first write");

    copy_and_verify(plan, source, target, context, report);
    // A filesystem in a partition grows while there is no table yet. One without a table has its superblock
    // among the boot structures, and grows after them: resize2fs marks it as erroneous until it is done.
    const bool bare = plan.table.kind == layout::TableKind::kNone;
    if (!bare) grow(plan, target, context);
    // Everything else is on the medium: now, and only now, it may look like a disk.
    compare_protected(report.protected_regions, target, context);
    marked_if_it_fails(plan, target, context.now, [&] {
        context.progress.begin("boot structures", 0);
        report.bytes_verified += write_boot_structures(plan, target);
        if (bare) grow(plan, target, context);
        compare_protected(report.protected_regions, target, context);
    });
    report.bytes_written = target.bytes_written();
    report.bytes_zeroed = target.bytes_zeroed();
    report.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    return report;
}

}  // namespace dupengine::engine
