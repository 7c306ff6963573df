#pragma once
// What of an unfinished copy's journal holds true. The journal is on the target, among bytes that anybody may
// have changed, so nothing of it is believed: each chunk that it names is read from the target's medium and
// has to have the journal's digest, and of one chunk in 16 the source's bytes have to have it, too. One
// sample that has not shows that the journal is of another source: then none of it counts. What counts is as
// good as any chunk that the target held before (delta). Never writes.

#include "engine/journal.h"

namespace dupengine::engine {

struct Resumption {
    std::optional<layout::IncompleteMark::Journal> journal;  ///< that this copy keeps
    JournalContent known;          ///< what an unfinished one named, as far as it was found to be true
    std::uint64_t bytes = 0;       ///< of the target that need not be copied
    std::uint64_t bytes_read = 0;  ///< of the source, for the samples
    std::string note;              ///< for the report; may be empty
};

/// Carries plan.journal out: what it continues is read again and added to progress, else a new one begins.
/// What cannot be read of the target does not count, and a sample that cannot be read shows nothing. Throws
/// what reading the journal throws. `now`: Unix seconds.
Resumption take_up_journal(const CopyPlan& plan, const block::Reader& source, const block::Reader& target,
                           const PipelineOptions& options, Progress& progress, std::stop_token stop,
                           std::int64_t now);

}  // namespace dupengine::engine
