#include "engine/apply.h"

#include <algorithm>
#include <chrono>
#include <memory>

#include "engine/catch_up.h"
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

// What is written last besides sector 0 and where the marks stand: extended boot records, superblocks. Until
// then it is nothing.
block::ExtentSet places_without_marks(const CopyPlan& plan, const block::Geometry& geometry) {
    block::ExtentSet places;
    for (const BootStage& stage : plan.boot)
        for (const auto& piece : stage.pieces)
            places.insert({piece.offset, piece.offset + piece.content.size()});
    places.erase({0, plan.sector_bytes});
    places.erase(layout::mark_extent_head(geometry));
    places.erase(layout::mark_extent_tail(geometry));
    return places;
}

// First the end, then the start: until the first flush has returned the old table still stands, and after it
// the mark does, so what must be kept can always be found.
void mark_unfinished(const CopyPlan& plan, block::Target& target, std::int64_t now,
                     const std::optional<layout::IncompleteMark::Journal>& journal) {
    block::Geometry geometry = target.geometry();
    geometry.logical_sector_bytes = plan.sector_bytes;
    const Bytes content = layout::encode_mark(mark_for(plan, now, journal), plan.sector_bytes);
    target.write(layout::mark_extent_tail(geometry).begin, content);
    target.flush();
    target.write(layout::mark_extent_head(geometry).begin, content);
    target.write(0, Bytes(plan.sector_bytes));
    for (block::Extent e : places_without_marks(plan, geometry))
        target.write(e.begin, Bytes(e.size()));
    target.flush();
}

// A mark for other sectors stands elsewhere, and would outlive the copy. The new one is in force by now.
void erase_other_mark(const CopyPlan& plan, block::Target& target) {
    if (!plan.target.incomplete || plan.target.incomplete->sector_bytes == plan.sector_bytes) return;
    block::Geometry old = target.geometry();
    old.logical_sector_bytes = plan.target.incomplete->sector_bytes;
    block::ExtentSet stays = late_extents(target.geometry(), plan.sector_bytes);
    stays.insert(plan.protected_regions().extents());
    for (const block::Extent mark : {layout::mark_extent_head(old), layout::mark_extent_tail(old)}) {
        const ByteOffset begin = align_down(mark.begin, plan.sector_bytes);
        const block::Extent first_sector{begin, begin + plan.sector_bytes};
        if (!stays.touches(first_sector)) target.write(begin, Bytes(plan.sector_bytes));
    }
    target.flush();
}

void grow(const CopyPlan& plan, block::Target& target, ApplyContext& context) {
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
            where = name_places(sort_by_partition(plan.source, source, extents));
        } catch (const Error&) {
            // The sectors that hold the names cannot be read either.
        }
        throw_error(Code::kSourceIo, "{}{}; --tolerate-bad-sectors copies everything else", e.what(),
                    where.empty() ? "" : " (" + where + ")");
    }
}

PipelineOptions pipeline_for(const CopyPlan& plan, const block::Reader& source, const block::Target& target) {
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

// One disk's copy, in the parts between which the disks of a set wait for each other.
class DiskCopy {
  public:
    /// `part` of `parts`: for those who watch; 0 of 0 for a disk by itself.
    DiskCopy(const CopyJob& job, unsigned part, unsigned parts)
        : plan_(job.plan),
          source_(job.source),
          target_(job.target),
          context_(job.context),
          part_(part),
          parts_(parts),
          options_(pipeline_for(plan_, source_, target_)),
          zero_(plan_.zero),
          boot_(plan_.boot) {
        options_.on_chunk = context_.on_chunk;
        report_.chunk_bytes = options_.lanes.chunk_bytes;
        report_.source = source_.name();
        report_.target = target_.name();
        report_.bytes_used = plan_.bytes_used;
        report_.notes = plan_.notes;
    }

    void look_again() {
        const Step step(*this);
        refuse_if_changed(plan_, source_, target_);
        report_.protected_regions = digest_protected(plan_, target_, context_);
        stop_if_source_changed(source_, context_, Code::kRefused, "since the plan was made; plan again");
        if (context_.stop.stop_requested())
            throw_error(Code::kRefused, "stopped on request before the first write");
    }

    // What of an unfinished copy holds true. Nothing has been written yet.
    void take_up() {
        const Step step(*this);
        if (plan_.journal && plan_.journal->continues)
            context_.progress.begin("resume", plan_.journal->bytes_named);
        resumed_ = take_up_journal(plan_, source_, target_, options_, context_.progress, context_.stop,
                                   context_.now);
        if (!resumed_.note.empty()) report_.notes.push_back(resumed_.note);
        report_.bytes_resumed = resumed_.bytes;
        if (resumed_.journal) {
            journal_ =
                std::make_unique<Journal>(target_, *resumed_.journal, resumed_.known, context_.journal_pace);
            zero_.erase(resumed_.journal->place);  // in use until the end
        }
    }

    void mark() {
        mark_unfinished(plan_, target_, context_.now, resumed_.journal);
        erase_other_mark(plan_, target_);
    }

    void copy_and_verify() {
        const Step step(*this);
        // Zeroing first: on a device that deallocates, the writes that follow find room.
        context_.progress.begin("clear", zero_.total_bytes());
        zero_ranges(target_, zero_, options_, context_.progress, context_.stop);
        context_.progress.begin("copy", plan_.data.total_bytes() - resumed_.bytes);
        BadSectors bad;
        const Moved moved = copy_and_name_bad_sectors(plan_, source_, target_, options_, context_, bad,
                                                      std::move(resumed_.known.chunks), journal_.get());
        report_.bad_sectors = sort_by_partition(plan_.source, source_, bad.extents());
        report_.bytes_read = moved.bytes_read + resumed_.bytes_read;
        report_.bytes_equal = moved.bytes_equal + resumed_.bytes;
        context_.progress.begin("flush", 0);
        target_.flush();
        if (journal_) journal_->record_flushed(moved.chunks.digests);
        if (plan_.options.verify != Verify::kNone) verify(moved);
    }

    void check_source() const {
        stop_if_source_changed(
            source_, context_, Code::kIntegrity,
            "while it was copied; the target is marked unfinished, run the same command again");
    }

    // One that is followed is read until its last round.
    void end_source_at_rest() const {
        if (!context_.next_round) end_source();
    }

    // A filesystem in a partition grows while there is no table yet; perhaps over the place of the journal.
    void grow_in_partition() {
        const Step step(*this);
        if (journal_) report_.bytes_verified += journal_->erase(options_.zeroing, context_.stop);
        if (!is_bare()) grow(plan_, target_, context_);
        compare_protected(report_.protected_regions, target_, context_);
    }

    // One round of what was written to a source in use since it was read. The journal's place is free by now.
    // False: there are no more.
    bool catch_up_with_source() {
        if (!context_.next_round || (rounds_ && rounds_->is_over())) return false;
        const Step step(*this);
        if (!rounds_) rounds_ = std::make_unique<CatchUp>(plan_, boot_, source_, target_, context_);
        rounds_->take_round();
        return !rounds_->is_over();
    }

    void end_followed_source() {
        if (!rounds_) return;
        const Step step(*this);
        const CaughtUp& caught_up = rounds_->caught_up();
        report_.bytes_read += caught_up.bytes_read;
        report_.bytes_verified += caught_up.bytes_verified;
        report_.round_bytes = caught_up.round_bytes;
        end_source();
    }

    // Somebody else makes it a disk. What lies in partitions is not waited for: without the rest it is
    // nothing.
    void hand_boot_over() {
        const Step step(*this);
        context_.progress.begin("boot structures", 0);
        SplitBoot split = split_boot(boot_, plan_.table);
        report_.bytes_verified += write_boot_stages(split.in_partitions, plan_.options.verify, target_);
        compare_protected(report_.protected_regions, target_, context_);
        context_.hold_boot({target_.geometry().size_bytes, std::move(split.outside)});
    }

    void become_a_disk() {
        if (context_.hold_boot) return hand_boot_over();
        const Step step(*this);
        looks_like_a_disk_ = true;
        context_.progress.begin("boot structures", 0);
        report_.bytes_verified += write_boot_stages(boot_, plan_.options.verify, target_);
        // One without a table has its superblock among the boot structures: resize2fs marks it as erroneous
        // until it is done.
        if (is_bare()) grow(plan_, target_, context_);
        compare_protected(report_.protected_regions, target_, context_);
    }

    // Takes the look of a disk away again, if that can still be done.
    void mark_again() noexcept {
        if (!looks_like_a_disk_) return;
        try {
            mark_unfinished(plan_, target_, context_.now, {});
        } catch (const std::exception&) {
            // The medium takes no more writes; the first failure is what is told.
        }
    }

    CopyReport report() {
        report_.bytes_written = target_.bytes_written();
        report_.bytes_zeroed = target_.bytes_zeroed();
        return std::move(report_);
    }

  private:
    // What is done is of this disk: the time that it takes, and its phases.
    class Step {
      public:
        explicit Step(DiskCopy& copy) : copy_(copy) {
            copy.context_.progress.set_part(copy.part_, copy.parts_);
        }
        ~Step() {
            copy_.report_.seconds +=
                std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count();
        }
        Step(const Step&) = delete;
        Step& operator=(const Step&) = delete;

      private:
        DiskCopy& copy_;
        const std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
    };

    bool is_bare() const { return plan_.table.kind == layout::TableKind::kNone; }

    void end_source() const {
        if (context_.source_end) context_.source_end();
    }

    void verify(const Moved& moved) {
        Progress& progress = context_.progress;
        PipelineOptions options = options_;
        progress.begin("verify", plan_.data.total_bytes() + zero_.total_bytes());
        verify_data(target_, plan_.data, moved.chunks, options, progress, context_.stop);
        block::ExtentSet unused = zero_, zero_used = zero_;
        unused.erase(plan_.zero_used);
        zero_used.erase(unused);
        report_.bytes_verified =
            plan_.data.total_bytes() + verify_zero(target_, unused, options, progress, context_.stop);
        options.sample_zeros = false;
        report_.bytes_verified += verify_zero(target_, zero_used, options, progress, context_.stop);
    }

    const CopyPlan& plan_;
    const block::Reader& source_;
    block::Target& target_;
    ApplyContext& context_;
    unsigned part_, parts_;
    PipelineOptions options_;
    CopyReport report_;
    Resumption resumed_;
    std::unique_ptr<Journal> journal_;
    block::ExtentSet zero_;  // of the plan, without the journal's place
    std::vector<BootStage> boot_;
    std::unique_ptr<CatchUp> rounds_;
    bool looks_like_a_disk_ = false;
};

}  // namespace

std::vector<CopyReport> apply_plans(std::span<const CopyJob> jobs) {
    std::vector<DiskCopy> copies;
    const auto parts = jobs.size() > 1 ? static_cast<unsigned>(jobs.size()) : 0;
    for (const CopyJob& job : jobs)
        copies.emplace_back(job, parts == 0 ? 0 : static_cast<unsigned>(copies.size() + 1), parts);
    for (DiskCopy& copy : copies)
        copy.look_again();
    for (DiskCopy& copy : copies)
        copy.take_up();
    // From here on no disk of the set is one, not even those whose turn comes late: half of a machine must
    // not boot.
    for (DiskCopy& copy : copies)
        copy.mark();
    for (DiskCopy& copy : copies) {
        copy.copy_and_verify();
        // Of each: what was copied first can change while the last is copied.
        for (const DiskCopy& each : copies)
            each.check_source();
    }
    for (const DiskCopy& copy : copies)
        copy.end_source_at_rest();
    for (DiskCopy& copy : copies)
        copy.grow_in_partition();
    // In turn: disks that are followed together have the same rounds, and what a round names can be read
    // until the next one is asked for.
    for (bool goes_on = true; goes_on;) {
        goes_on = false;
        for (DiskCopy& copy : copies)
            goes_on |= copy.catch_up_with_source();
    }
    for (DiskCopy& copy : copies)
        copy.end_followed_source();
    // Everything else is on every medium: now, and only now, they may look like disks. The first one, which
    // people boot from, comes last.
    try {
        std::for_each(copies.rbegin(), copies.rend(), [](DiskCopy& copy) { copy.become_a_disk(); });
    } catch (...) {
        for (DiskCopy& copy : copies)
            copy.mark_again();
        throw;
    }
    std::vector<CopyReport> reports;
    for (DiskCopy& copy : copies)
        reports.push_back(copy.report());
    return reports;
}

CopyReport apply_plan(const CopyPlan& plan, const block::Reader& source, block::Target& target,
                      ApplyContext& context) {
    const CopyJob job{plan, source, target, context};
    return std::move(apply_plans({&job, 1}).front());
}

}  // namespace dupengine::engine
