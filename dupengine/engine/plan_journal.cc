// Where the journal of the copy will stand, and whether one that a cut copy left is of this very copy.

#include "engine/journal.h"
#include "engine/plan.h"

namespace dupengine::engine {
namespace {

using block::Extent;
using block::ExtentSet;
using layout::IncompleteMark;

class PlanDigest {
  public:
    void add(std::uint64_t number) {
        std::array<std::byte, sizeof number> bytes{};
        store_le<std::uint64_t>(bytes, 0, number);
        stream_.update(bytes);
    }
    void add(Extent extent) {
        add(extent.begin);
        add(extent.end);
    }
    void add(const ExtentSet& extents) {
        add(extents.count());
        for (Extent e : extents)
            add(e);
    }
    void add(std::span<const std::byte> bytes) {
        add(bytes.size());
        stream_.update(bytes);
    }
    codec::Sha256 finish() { return stream_.finish(); }

  private:
    codec::Sha256Stream stream_;
};

// Everything that decides which bytes come where. What the source's structures say is in it: the extents in
// use, the table with its GUIDs.
codec::Sha256 digest_of(const CopyPlan& plan, std::uint64_t chunk_bytes) {
    PlanDigest digest;
    digest.add(plan.sector_bytes);
    digest.add(chunk_bytes);
    digest.add(plan.source.geometry.size_bytes);
    digest.add(plan.target.geometry.size_bytes);
    digest.add(plan.data);
    digest.add(plan.zero);
    digest.add(plan.kept.size());
    for (const Kept& k : plan.kept)
        digest.add(k.extent);
    for (const BootStage& stage : plan.boot) {
        digest.add(stage.pieces.size());
        for (const auto& piece : stage.pieces) {
            digest.add(piece.offset);
            digest.add(piece.content);
        }
    }
    digest.add(plan.grow ? plan.grow->after.end : 0);
    return digest.finish();
}

// In what the source does not use if there is room: what it does use is zeroed first, and not last.
std::optional<Extent> find_place(const CopyPlan& plan, std::uint64_t size_bytes) {
    const auto find_in = [&](const ExtentSet& free) -> std::optional<Extent> {
        for (Extent e : free) {
            const ByteOffset begin = align_up(e.begin, kJournalBlockBytes);
            if (begin < e.end && e.end - begin >= size_bytes) return Extent{begin, begin + size_bytes};
        }
        return {};
    };
    ExtentSet unused = plan.zero;
    unused.erase(plan.zero_used);
    const auto place = find_in(unused);
    return place ? place : find_in(plan.zero);
}

bool is_a_place(const CopyPlan& plan, Extent place, std::uint64_t size_bytes) {
    return place.size() == size_bytes && place.begin % kJournalBlockBytes == 0 && plan.zero.contains(place);
}

bool mark_has_room(const CopyPlan& plan, const IncompleteMark::Journal& journal) {
    try {
        layout::encode_mark(mark_for(plan, kLongestTime, journal), plan.sector_bytes);
        return true;
    } catch (const Error&) {
        return false;
    }
}

// Fills plan.journal. Returns why it could not.
std::string find_journal(CopyPlan& plan) {
    if (plan.options.verify == Verify::kNone) return "nothing is read back";
    if (plan.sector_bytes > kJournalBlockBytes) return "the target's sectors are larger than its blocks";
    if (plan.options.source_state->empty()) return "nothing would show that the source is still the same";
    JournalPlan journal;
    journal.chunk_bytes = choose_pipeline(plan.source.geometry, plan.target.geometry, plan.data.total_bytes(),
                                          plan.options.tuning)
                              .lanes.chunk_bytes;
    journal.mark.plan = digest_of(plan, journal.chunk_bytes);
    journal.mark.source = codec::sha256(as_bytes(*plan.options.source_state));
    const auto place = find_place(plan, journal_bytes(count_chunks(plan.data, journal.chunk_bytes)));
    if (!place) return "the target has no free space for it";
    journal.mark.place = *place;
    if (!mark_has_room(plan, journal.mark)) return "too many regions are protected";
    plan.journal = journal;
    return "";
}

// Empty if `old` is the journal of this very copy.
std::string why_not_continued(const CopyPlan& plan, const IncompleteMark::Journal& old) {
    const IncompleteMark::Journal& ours = plan.journal->mark;
    if (plan.options.delta == Delta::kNever) return "--delta=never";
    if (plan.options.delta == Delta::kAlways) return "--delta=always compares everything with the source";
    if (old.source != ours.source) return "nothing shows that the source is still the same";
    if (old.plan != ours.plan || !is_a_place(plan, old.place, ours.place.size()))
        return "it is of a copy that was planned otherwise";
    return "";
}

// Returns why it cannot be done.
std::string continue_journal(CopyPlan& plan, const block::Reader& target,
                             const IncompleteMark::Journal& old) {
    JournalPlan journal = *plan.journal;
    journal.mark = old;
    journal.continues = true;
    JournalContent content;
    try {
        content = read_journal(target, old, count_chunks(plan.data, journal.chunk_bytes));
    } catch (const Error& e) {
        return e.what();
    }
    ChunkDealer dealer(plan.data, journal.chunk_bytes);
    while (const auto chunk = dealer.next())
        if (content.chunks.was_equal[chunk->number] != 0) journal.bytes_named += size_of(*chunk);
    plan.journal = journal;
    return "";
}

}  // namespace

void plan_journal(CopyPlan& plan, const block::Reader& target) {
    if (!plan.options.source_state || plan.data.empty()) return;
    const std::string none = find_journal(plan);
    if (!none.empty())
        plan.notes.push_back(
            fmt::format("no journal is kept, because {}: after a cut all is compared again", none));
    if (!plan.journal || !plan.target.incomplete || !plan.target.incomplete->journal) return;
    const IncompleteMark::Journal old = *plan.target.incomplete->journal;
    std::string unusable = why_not_continued(plan, old);
    if (unusable.empty()) unusable = continue_journal(plan, target, old);
    if (!unusable.empty())
        plan.notes.push_back(fmt::format("the unfinished copy's journal is not used: {}", unusable));
}

}  // namespace dupengine::engine
