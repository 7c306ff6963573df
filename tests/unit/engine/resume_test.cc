// Copies that are cut and go on by their journal: what is saved, and when nothing of it is believed.

#include "engine/resume.h"

#include <gmock/gmock.h>

#include <algorithm>
#include <atomic>

#include "engine/apply.h"
#include "tests/support/gpt_disk.h"

namespace dupengine::engine {
namespace {

using block::Extent;
using test::Call;
using test::DiskBytes;
using test::make_gpt_disk;
using test::MemoryDevice;
using test::Operation;
using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr std::uint64_t kUnit = 256 * kKiB;
constexpr std::uint64_t kSize = 24 * kUnit;
constexpr std::uint64_t kChunk = 16 * kKiB;  // more of them than a block of the journal names
const Extent kFirst{kUnit, 3 * kUnit};
const Extent kSecond{3 * kUnit, 20 * kUnit};
const Extent kProfilePlace{22 * kUnit, 23 * kUnit};

bool reads(const Call& call) {
    return call.operation == Operation::kRead || call.operation == Operation::kReadFromMedium;
}
bool writes(const Call& call) {
    return call.operation == Operation::kWrite || call.operation == Operation::kZero;
}

// A copy of one disk onto another, in memory, that can be run again and again.
struct Copying {
    std::shared_ptr<DiskBytes> from = make_gpt_disk(kSize, {{1, kFirst, "esp"}, {2, kSecond, "root"}}, 1);
    std::shared_ptr<DiskBytes> to = make_gpt_disk(
        kSize, {{1, {kUnit, 6 * kUnit}, "old"}, {128, kProfilePlace, "profile", layout::type_guid::kProfile}},
        2, true);
    std::string source_name = "source";
    CopyOptions options;
    test::Interceptor on_source, on_target;
    std::stop_source stop;
    std::vector<Call> source_calls, target_calls;
    CopyPlan plan;

    Copying() {
        options.source_state = "as it was";
        options.tuning = {.workers = 1, .depth = 1, .chunk_bytes = kChunk};
    }

    CopyReport run() {
        MemoryDevice source(from, 512, source_name);
        plan = make_plan(source, MemoryDevice(to, 512, "target"), options);
        auto device = std::make_unique<MemoryDevice>(to, 512, "target");
        MemoryDevice& fake = *device;
        source.set_interceptor(on_source);
        fake.set_interceptor(on_target);
        const std::size_t planned = source.calls().size();
        block::Target target(std::move(device), plan.protected_regions());
        Progress progress;
        ApplyContext context{progress, stop.get_token(), 1'700'000'000, {}};
        context.journal_pace = std::chrono::milliseconds(0);
        const auto keep_calls = [&] {
            source_calls = source.calls();
            source_calls.erase(source_calls.begin(),
                               source_calls.begin() + static_cast<std::ptrdiff_t>(planned));
            target_calls = fake.calls();
        };
        try {
            CopyReport report = apply_plan(plan, source, target, context);
            keep_calls();
            return report;
        } catch (...) {
            keep_calls();
            throw;
        }
    }

    // Runs until so many bytes of the root partition are written; then the power is gone.
    void cut_after(std::uint64_t bytes) {
        on_target = [bytes, written = std::uint64_t{0}, off = false](std::size_t, const Call& call) mutable {
            if (writes(call) && call.extent.touches(kSecond)) written += call.extent.size();
            off = off || written > bytes;
            if (off) throw_error(Code::kTargetIo, "power cut");
        };
        EXPECT_THROW(run(), Error) << "nothing was cut";
        on_target = {};
    }

    void expect_complete() const {
        const auto table = layout::read_partition_table(MemoryDevice(to));
        EXPECT_TRUE(table.primary_valid && table.backup_valid);
        for (const Extent part : {kFirst, kSecond})
            EXPECT_TRUE(std::equal(from->content.begin() + part.begin, from->content.begin() + part.end,
                                   to->content.begin() + part.begin));
        for (const Extent unused :
             {Extent{20 * kUnit + 4096, 22 * kUnit}, Extent{23 * kUnit, kSize - 33 * 512}})
            EXPECT_TRUE(is_zero(std::span(to->content).subspan(unused.begin, unused.size())))
                << "something of the journal, or of the old disk, was left";
    }

    std::uint64_t read_from_source() const {
        std::uint64_t bytes = 0;
        for (const Call& call : source_calls)
            if (reads(call)) bytes += call.extent.size();
        return bytes;
    }
    std::uint64_t written_to_root() const {
        std::uint64_t bytes = 0;
        for (const Call& call : target_calls)
            if (writes(call)) bytes += call.extent.clipped_to(kSecond).size();
        return bytes;
    }
};

TEST(Resume, WhatTheJournalNamesIsNeitherReadFromTheSourceNorWrittenAgain) {
    Copying c;
    c.cut_after(12 * kUnit);
    const CopyReport report = c.run();
    c.expect_complete();
    EXPECT_TRUE(c.plan.journal && c.plan.journal->continues);
    EXPECT_EQ(c.plan.journal->bytes_named, report.bytes_resumed);
    EXPECT_GE(report.bytes_resumed, 12 * kUnit);
    EXPECT_GE(report.bytes_equal, report.bytes_resumed);
    EXPECT_LE(c.written_to_root(), kSecond.size() - 12 * kUnit + kChunk);
    // One chunk in 16 of what was saved is read for a sample.
    const std::uint64_t left = c.plan.data.total_bytes() - report.bytes_resumed;
    EXPECT_LE(c.read_from_source(), left + report.bytes_resumed / 16 + 2 * kChunk);
    EXPECT_EQ(report.bytes_read, c.read_from_source());
}

TEST(Resume, WhatIsTakenOverWasReadFromTheMediumInTheSameRun) {
    Copying c;
    c.cut_after(12 * kUnit);
    c.run();
    block::ExtentSet seen;
    for (const Call& call : c.target_calls)
        if (call.operation == Operation::kReadFromMedium) seen.insert(call.extent);
    for (const Extent e : c.plan.data)
        EXPECT_TRUE(seen.contains(e)) << e.text();
}

TEST(Resume, ACopyThatIsCutAgainAndAgainGetsThere) {
    Copying c;
    std::uint64_t before = 0;
    for (int i = 0; i < 5; ++i) {
        c.cut_after(3 * kUnit);
        EXPECT_TRUE(i == 0 || c.plan.journal->bytes_named > before) << "round " << i;
        before = c.plan.journal->bytes_named;
    }
    EXPECT_GE(c.run().bytes_resumed, 14 * kUnit);
    c.expect_complete();
}

TEST(Resume, ACutWhileItIsReadBackCostsNoCopying) {
    Copying c;
    bool mark = false, verifying = false;
    c.on_target = [&](std::size_t, const Call& call) {
        mark = mark || call.operation == Operation::kWrite;
        verifying = verifying || (mark && call.operation == Operation::kReadFromMedium);
        if (verifying) throw_error(Code::kTargetIo, "power cut");
    };
    EXPECT_THROW(c.run(), Error);
    c.on_target = {};
    EXPECT_EQ(c.run().bytes_resumed, c.plan.data.total_bytes());
    EXPECT_EQ(c.written_to_root(), 0u);
    c.expect_complete();
}

TEST(Resume, AStopOnRequestLosesNothingThatWasWritten) {
    Copying c;
    std::uint64_t written = 0;
    c.on_target = [&](std::size_t, const Call& call) {
        if (writes(call) && call.extent.touches(kSecond)) written += call.extent.size();
        if (written >= 8 * kUnit) c.stop.request_stop();
    };
    EXPECT_THROW(c.run(), Error);
    c.on_target = {};
    c.stop = {};
    EXPECT_GE(c.run().bytes_resumed, 8 * kUnit);
    c.expect_complete();
}

TEST(Resume, TheJournalIsGoneBeforeTheDiskBecomesOne) {
    Copying c;
    unsigned written = 0;  // once when the mark is set, once when all is done
    c.on_target = [&](std::size_t, const Call& call) {
        if (!writes(call) || call.extent != Extent{0, 512} || ++written != 2) return;
        const Extent place = c.plan.journal->mark.place;
        EXPECT_TRUE(is_zero(std::span(c.to->content).subspan(place.begin, place.size())));
    };
    c.run();
    EXPECT_EQ(written, 2u);
    c.expect_complete();
}

// Each of these changes something between the cut and the next run. Nothing of the journal may count then,
// and the copy has to be complete all the same.
struct Change {
    const char* what;
    std::function<void(Copying&)> make;
    const char* note;
};

void PrintTo(const Change& change, std::ostream* out) {
    *out << change.what;
}

class ResumeIsRefused : public ::testing::TestWithParam<Change> {};

TEST_P(ResumeIsRefused, AndTheCopyIsCompleteAllTheSame) {
    Copying c;
    c.cut_after(12 * kUnit);
    GetParam().make(c);
    const CopyReport report = c.run();
    EXPECT_EQ(report.bytes_resumed, 0u);
    EXPECT_THAT(report.notes, Contains(HasSubstr(GetParam().note)));
    c.expect_complete();
}

void move_table_guid(Copying& c) {
    const auto other = make_gpt_disk(kSize, {{1, kFirst, "esp"}, {2, kSecond, "root"}}, 77);
    for (const Extent e : {Extent{0, kUnit}, Extent{kSize - 33 * 512, kSize}})
        std::copy(other->content.begin() + e.begin, other->content.begin() + e.end,
                  c.from->content.begin() + e.begin);
}

INSTANTIATE_TEST_SUITE_P(
    If, ResumeIsRefused,
    ::testing::Values(
        Change{"TheSourceIsAnother", [](Copying& c) { c.options.source_state = "written since"; },
               "nothing shows that the source is still the same"},
        Change{"TheSourceCannotTell", [](Copying& c) { c.options.source_state = ""; },
               "nothing would show that the source is still the same"},
        Change{"TheSourcesTableIsAnother", move_table_guid, "planned otherwise"},
        Change{"SomethingElseIsProtected", [](Copying& c) { c.options.protect = {"5M+4096"}; },
               "planned otherwise"},
        Change{"ChunksAreOfAnotherSize", [](Copying& c) { c.options.tuning.chunk_bytes = 2 * kChunk; },
               "planned otherwise"},
        Change{"AllIsToBeCopied", [](Copying& c) { c.options.delta = Delta::kNever; }, "--delta=never"},
        Change{"AllIsToBeCompared", [](Copying& c) { c.options.delta = Delta::kAlways; }, "--delta=always"},
        // The state says that nothing changed, and it did: a sample shows it.
        Change{"TheSourceChangedUnseen",
               [](Copying& c) {
                   test::fill_pattern(std::span(c.from->content).subspan(kFirst.begin, kFirst.size()), 99);
               },
               "samples show"}),
    [](const auto& one) { return one.param.what; });

TEST(Resume, WithoutReadingBackThereIsNoJournal) {
    Copying c;
    c.options.verify = Verify::kNone;
    EXPECT_THAT(c.run().notes, Contains(HasSubstr("nothing is read back")));
    EXPECT_FALSE(c.plan.journal);
    c.expect_complete();
}

// The longest name of a source with which `planned` says yes: it fills the mark.
std::size_t longest_name(Copying& c, const std::function<bool(const CopyPlan&)>& planned) {
    std::size_t fits = 0, too_long = 20'000;
    while (too_long - fits > 1) {
        const std::size_t length = (fits + too_long) / 2;
        bool good = false;
        try {
            good = planned(make_plan(MemoryDevice(c.from, 512, std::string(length, 'x')),
                                     MemoryDevice(c.to, 512, "target"), c.options));
        } catch (const Error&) {
            good = false;
        }
        (good ? fits : too_long) = length;
    }
    return fits;
}

TEST(Resume, WhatIsPlannedIsNeverRefusedBecauseTheMarkThatIsWrittenIsLonger) {
    Copying planning;
    const std::size_t with_journal =
        longest_name(planning, [](const CopyPlan& plan) { return plan.journal.has_value(); });
    const std::size_t at_all = longest_name(planning, [](const CopyPlan&) { return true; });
    ASSERT_LT(with_journal, at_all) << "the journal was never what had no room";
    for (const std::size_t length : {with_journal, with_journal + 1, at_all}) {
        Copying c;
        c.source_name = std::string(length, 'x');
        EXPECT_NO_THROW(c.run()) << length;
    }
}

TEST(Resume, ADiskOfSectorsLargerThanTheJournalsBlocksIsCopiedWithoutOne) {
    constexpr std::uint32_t kLargeSector = 16 * kKiB;
    const auto from =
        make_gpt_disk(kSize, {{1, kFirst, "esp"}, {2, kSecond, "root"}}, 1, false, kLargeSector);
    const auto to = std::make_shared<DiskBytes>(*from);
    to->content[kSecond.begin + 9000] ^= std::byte{1};  // a difference is smaller than a sector
    const MemoryDevice source(from, kLargeSector);
    CopyOptions options;
    options.source_state = "as it was";
    options.delta = Delta::kAlways;
    const CopyPlan plan = make_plan(source, MemoryDevice(to, kLargeSector), options);
    ASSERT_EQ(plan.sector_bytes, kLargeSector);
    EXPECT_THAT(plan.notes, Contains(HasSubstr("no journal is kept")));
    block::Target target(std::make_unique<MemoryDevice>(to, kLargeSector), {});
    Progress progress;
    ApplyContext context{progress, {}, 1, {}};
    EXPECT_NO_THROW(apply_plan(plan, source, target, context));
    EXPECT_EQ(to->content, from->content);
}

TEST(Resume, WithoutFreeSpaceThereIsNoJournalAndTheNextRunCompares) {
    Copying c;
    c.options.unused = Unused::kKeep;
    c.cut_after(12 * kUnit);
    EXPECT_FALSE(c.plan.journal);
    const CopyReport report = c.run();
    EXPECT_THAT(report.notes, Contains(HasSubstr("no free space")));
    EXPECT_EQ(report.bytes_resumed, 0u);
    EXPECT_GE(report.bytes_equal, 12 * kUnit) << "what was there was not found by comparing either";
}

TEST(Resume, AChunkThatTheTargetLostIsCopiedAgain) {
    Copying c;
    c.cut_after(12 * kUnit);
    for (const ByteOffset at : {kFirst.begin, kSecond.begin + 5 * kUnit, kSecond.begin + 9 * kUnit})
        c.to->content[at] ^= std::byte{1};
    const CopyReport report = c.run();
    EXPECT_EQ(report.bytes_resumed, c.plan.journal->bytes_named - 3 * kChunk);
    c.expect_complete();
}

// As a disk has it after a power cut: unreadable until it is written again.
test::Interceptor dead_until_written(Extent place) {
    return [place, dead = true](std::size_t, const Call& call) mutable {
        if (!call.extent.touches(place)) return;
        if (writes(call)) dead = false;
        if (dead && reads(call)) throw_error(Code::kTargetIo, "pending sector");
    };
}

TEST(Resume, AChunkThatCannotBeReadOnTheTargetAnyMoreIsCopiedAgain) {
    Copying c;
    c.cut_after(12 * kUnit);
    const ByteOffset at = kSecond.begin + 5 * kUnit;
    c.on_target = dead_until_written({at, at + 512});
    const CopyReport report = c.run();
    EXPECT_EQ(report.bytes_resumed, c.plan.journal->bytes_named - kChunk);
    c.expect_complete();
}

TEST(Resume, WhereTheTargetCannotBeReadToCompareItIsWritten) {
    Copying c;
    c.run();
    c.options.delta = Delta::kAlways;
    const ByteOffset at = kSecond.begin + 5 * kUnit;
    c.on_target = dead_until_written({at, at + 512});
    const CopyReport report = c.run();
    EXPECT_EQ(report.bytes_equal, c.plan.data.total_bytes() - kChunk);
    EXPECT_EQ(c.written_to_root(), kChunk);
    c.expect_complete();
}

TEST(Resume, ADamagedJournalCostsOnlyWhatItNamed) {
    Copying c;
    c.cut_after(16 * kUnit);
    const ByteOffset first = c.plan.journal->mark.place.begin;
    for (const std::uint64_t version : {0, 1})  // of the first block both
        c.to->content[first + journal_block_offset(0, version) + 1000] ^= std::byte{1};
    const CopyReport report = c.run();
    EXPECT_GT(report.bytes_resumed, 0u);
    EXPECT_LT(report.bytes_resumed, 4 * kUnit) << "of the first 248 chunks nothing is known";
    EXPECT_GE(report.bytes_equal, 15 * kUnit) << "they are there, and comparing finds them";
    c.expect_complete();
}

TEST(Resume, AJournalThatCannotBeReadIsGivenUpBeforeTheFirstWrite) {
    Copying c;
    c.cut_after(12 * kUnit);
    const Extent place = c.plan.journal->mark.place;
    const MemoryDevice source(c.from);
    MemoryDevice target(c.to);
    target.set_interceptor([&](std::size_t, const Call& call) {
        const Extent first_block{place.begin, place.begin + 2 * kJournalBlockBytes};
        if (call.extent == first_block) throw_error(Code::kSourceIo, "dead");
    });
    const CopyPlan plan = make_plan(source, target, c.options);
    ASSERT_TRUE(plan.journal);
    EXPECT_FALSE(plan.journal->continues);
    EXPECT_THAT(plan.notes, Contains(HasSubstr("journal is not used: dead")));
}

TEST(Resume, TheMarkOfAnotherDisksJournalNamesNothing) {
    Copying c, other;
    c.cut_after(12 * kUnit);
    other.options.source_state = "another";
    other.cut_after(12 * kUnit);
    ASSERT_EQ(c.plan.journal->mark.place, other.plan.journal->mark.place);
    // The blocks of the one, the mark of the other.
    const Extent place = c.plan.journal->mark.place;
    std::copy_n(other.to->content.begin() + static_cast<std::ptrdiff_t>(place.begin), place.size(),
                c.to->content.begin() + static_cast<std::ptrdiff_t>(place.begin));
    EXPECT_EQ(c.run().bytes_resumed, 0u);
    c.expect_complete();
}

TEST(Resume, BadSectorsAreFoundAgainAndReported) {
    Copying c;
    const Extent bad{kSecond.begin + 2 * kUnit, kSecond.begin + 2 * kUnit + 512};
    c.options.tolerate_bad_sectors = true;
    c.on_source = [&](std::size_t, const Call& call) {
        if (reads(call) && call.extent.touches(bad)) throw_error(Code::kSourceIo, "dead");
    };
    c.cut_after(12 * kUnit);
    const CopyReport report = c.run();
    EXPECT_GT(report.bytes_resumed, 0u);
    ASSERT_EQ(report.bad_sectors.size(), 1u) << "a lost sector was forgotten";
    EXPECT_EQ(report.bad_sectors[0].extents.total_bytes(), 512u);
}

TEST(Resume, ASourceThatDiedSinceIsNotReadWhereTheTargetHasItsBytes) {
    Copying c;
    c.cut_after(12 * kUnit);
    const Extent dead{kFirst.begin, kSecond.begin + 8 * kUnit};
    c.on_source = [&](std::size_t, const Call& call) {
        if (reads(call) && call.extent.touches(dead)) throw_error(Code::kSourceIo, "dead");
    };
    EXPECT_TRUE(c.run().bad_sectors.empty());
    c.expect_complete();
}

}  // namespace
}  // namespace dupengine::engine
