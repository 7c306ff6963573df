#include "profiles/stores/partition_init.h"

#include <gmock/gmock.h>

#include "layout/incomplete_mark.h"
#include "profiles/stores/partition.h"
#include "tests/support/crash_disk.h"
#include "tests/support/gpt_disk.h"

namespace dupengine::profiles {
namespace {

using layout::Partition;
using layout::PartitionTable;
using layout::TableKind;
using test::DiskBytes;
using test::MemoryDevice;
using ::testing::HasSubstr;

constexpr std::uint64_t kDisk = 64 * kMiB;

Partition partition(unsigned number, std::uint64_t begin_mib, std::uint64_t end_mib) {
    Partition p;
    p.number = number;
    p.extent = {begin_mib * kMiB, end_mib * kMiB};
    p.type_guid = layout::type_guid::kLinuxData;
    p.guid.bytes.fill(std::byte(number));
    p.name = "part " + std::to_string(number);
    return p;
}

PartitionTable gpt(std::vector<Partition> partitions, std::uint32_t sector_bytes = 512) {
    PartitionTable table;
    table.kind = TableKind::kGpt;
    table.sector_bytes = sector_bytes;
    table.disk_guid.bytes.fill(std::byte{0xD1});
    table.partitions = std::move(partitions);
    return table;
}

PartitionPlan plan(PartitionTable table, PartitionRequest request = {}, std::uint64_t disk_bytes = kDisk) {
    SeededRandom random(5);
    return plan_profile_partition(std::move(table), disk_bytes, request, random, "disk");
}

template <typename Work>
std::string message_of(Code code, Work work) {
    try {
        work();
    } catch (const Error& e) {
        EXPECT_EQ(e.code(), code) << e.what();
        return e.what();
    }
    return "accepted";
}

// -- where it goes
// ----------------------------------------------------------------------------------------------------

TEST(ProfilePartition, GoesToTheEndOfTheDiskUnderTheHighestNumber) {
    const PartitionPlan p = plan(gpt({partition(1, 1, 10), partition(2, 10, 20)}));
    EXPECT_EQ(p.partition.extent, (block::Extent{59 * kMiB, 63 * kMiB}));
    EXPECT_EQ(p.partition.number, 128u);
    EXPECT_EQ(p.partition.type_guid, layout::type_guid::kProfile);
    EXPECT_EQ(p.partition.name, "dupengine-profile");
    EXPECT_EQ(p.partition.attributes, 0x8000000000000001u);
    EXPECT_FALSE(p.new_table);
    ASSERT_EQ(p.table.partitions.size(), 3u);
    EXPECT_EQ(p.table.partitions[0], partition(1, 1, 10));
    EXPECT_EQ(p.table.partitions[1], partition(2, 10, 20));
}

TEST(ProfilePartition, TakesTheSizeAndNumberThatWereAskedFor) {
    const PartitionPlan p = plan(gpt({partition(1, 1, 10)}), {5 * kMiB + 1, 7});
    EXPECT_EQ(p.partition.extent, (block::Extent{57 * kMiB, 63 * kMiB}));
    EXPECT_EQ(p.partition.number, 7u);
    EXPECT_THAT(message_of(Code::kRefused,
                           [] {
                               plan(gpt({partition(1, 1, 10)}), {4 * kMiB, 1});
                           }),
                HasSubstr("partition 1 is there already"));
    EXPECT_THAT(message_of(Code::kUsage,
                           [] {
                               plan(gpt({}), {4 * kMiB, 129});
                           }),
                HasSubstr("numbers 1 to 128"));
    EXPECT_THAT(message_of(Code::kUsage, [] { plan(gpt({}), {kMiB, {}}); }), HasSubstr("at least 2097152"));
}

TEST(ProfilePartition, TakesTheNextFreeNumberIfTheLastIsTaken) {
    EXPECT_EQ(plan(gpt({partition(127, 1, 2), partition(128, 2, 3)})).partition.number, 126u);
}

TEST(ProfilePartition, GivesABlankDiskAGptOfItsOwn) {
    PartitionTable none;
    const PartitionPlan p = plan(none);
    EXPECT_TRUE(p.new_table);
    EXPECT_EQ(p.table.kind, TableKind::kGpt);
    EXPECT_FALSE(p.table.disk_guid.is_null());
    EXPECT_EQ(p.partition.extent, (block::Extent{59 * kMiB, 63 * kMiB}));
}

TEST(ProfilePartition, WorksWithSectorsOf4096Bytes) {
    const PartitionPlan p = plan(gpt({partition(1, 1, 10)}, 4096));
    EXPECT_EQ(p.partition.extent, (block::Extent{59 * kMiB, 63 * kMiB}));
}

TEST(ProfilePartition, IsRefusedWhereAPartitionReachesToTheEnd) {
    EXPECT_THAT(message_of(Code::kRefused,
                           [] {
                               plan(gpt({partition(1, 1, 10), partition(2, 10, 60)}));
                           }),
                ::testing::AllOf(HasSubstr("partition 2 'part 2' reaches to byte 62914560"),
                                 HasSubstr("shrink or move it")));
    EXPECT_EQ(plan(gpt({partition(2, 10, 60)}), {3 * kMiB, {}}).partition.extent.begin, 60 * kMiB);
}

TEST(ProfilePartition, IsRefusedOnADiskThatIsTooSmall) {
    EXPECT_THAT(message_of(Code::kRefused, [] { plan(gpt({}), {}, 5 * kMiB); }), HasSubstr("has no room"));
}

TEST(ProfilePartition, IsRefusedOnAnMbrAndOnADamagedGpt) {
    PartitionTable mbr;
    mbr.kind = TableKind::kMbr;
    EXPECT_THAT(message_of(Code::kRefused, [&] { plan(mbr); }), HasSubstr("convert it to GPT"));
    PartitionTable damaged = gpt({});
    damaged.primary_valid = false;
    EXPECT_THAT(message_of(Code::kRefused, [&] { plan(damaged); }), HasSubstr("repair it first"));
}

TEST(ProfilePartition, ThatIsThereAlreadyIsUsedAsItIs) {
    Partition there = partition(4, 20, 24);
    there.type_guid = layout::type_guid::kProfile;
    const PartitionPlan p = plan(gpt({partition(1, 1, 10), there, partition(5, 24, 63)}));
    EXPECT_FALSE(p.new_partition);
    EXPECT_EQ(p.partition, there);
    EXPECT_EQ(extents_to_write(p, kDisk), block::ExtentSet{there.extent}) << "the table stays";
}

TEST(ProfilePartition, ThatIsThereTwiceIsNotGuessedAt) {
    Partition a = partition(4, 20, 24), b = partition(9, 30, 34);
    a.type_guid = b.type_guid = layout::type_guid::kProfile;
    EXPECT_THAT(message_of(Code::kRefused, [&] { plan(gpt({a, b})); }), HasSubstr("partitions 4 and 9 both"));
}

// -- writing it
// -------------------------------------------------------------------------------------------------------

constexpr std::uint64_t kSmallDisk = 16 * kMiB;

class ProfilePartitionOnDisk : public ::testing::TestWithParam<std::uint32_t> {
  protected:
    ProfilePartitionOnDisk() {
        test::fill_pattern(disk_->content, 3);
        for (const auto& image = layout::encode_table(table_, kSmallDisk);
             const auto* pieces : {&image.primary, &image.backup})
            for (const auto& piece : *pieces)
                std::copy(piece.content.begin(), piece.content.end(), disk_->content.begin() + piece.offset);
        before_ = disk_->content;
    }
    void apply(test::Interceptor interceptor = {}) {
        SeededRandom random(6);
        const PartitionPlan planned = plan_profile_partition(
            layout::read_partition_table(MemoryDevice(disk_, GetParam())), kSmallDisk, {}, random, "disk");
        auto device = std::make_unique<MemoryDevice>(disk_, GetParam());
        device->set_interceptor(std::move(interceptor));
        block::Target target(std::move(device),
                             block::ProtectedRegions::all_except(extents_to_write(planned, kSmallDisk),
                                                                 kSmallDisk, "the profile and the table"));
        apply_profile_partition(target, planned, {1, "text", {std::string(32, 's')}});
    }
    PartitionTable read() { return layout::read_partition_table(MemoryDevice(disk_, GetParam())); }
    bool others_untouched() const {
        return std::equal(before_.begin() + kMiB, before_.begin() + 11 * kMiB, disk_->content.begin() + kMiB);
    }

    PartitionTable table_ = gpt({partition(1, 1, 3), partition(2, 3, 8)}, GetParam());
    std::shared_ptr<DiskBytes> disk_ = std::make_shared<DiskBytes>(kSmallDisk);
    Bytes before_;
};

TEST_P(ProfilePartitionOnDisk, IsFoundAgainAndChangesNoByteOfOthers) {
    apply();
    const MemoryDevice disk(disk_, GetParam());
    const auto place = find_profile_place(disk);
    ASSERT_TRUE(place);
    EXPECT_EQ(place->extent, (block::Extent{11 * kMiB, 15 * kMiB}));
    EXPECT_EQ(read_slots(disk, place->extent).newest->text, "text");
    EXPECT_TRUE(others_untouched());
    const PartitionTable after = read();
    EXPECT_TRUE(after.primary_valid && after.backup_valid);
    EXPECT_EQ(*after.by_number(1), partition(1, 1, 3));
    EXPECT_EQ(*after.by_number(2), partition(2, 3, 8));
    EXPECT_EQ(after.disk_guid, table_.disk_guid);
}

TEST_P(ProfilePartitionOnDisk, ACutAtAnyOperationLeavesAGoodTableAndAWholeProfileOrNone) {
    unsigned without = 0, with = 0;
    for (std::size_t cut = 0;; ++cut) {
        disk_->content = before_;
        bool was_cut = false;
        try {
            apply([&](std::size_t number, const test::Call&) {
                was_cut = number >= cut;  // and the power stays away
                if (was_cut) throw_error(Code::kTargetIo, "power cut");
            });
        } catch (const Error&) {
        }
        const PartitionTable after = read();
        ASSERT_EQ(after.kind, TableKind::kGpt) << "cut before operation " << cut;
        EXPECT_TRUE(others_untouched()) << "cut before operation " << cut;
        ASSERT_NE(after.by_number(1), nullptr);
        EXPECT_EQ(*after.by_number(2), partition(2, 3, 8));
        const MemoryDevice disk(disk_, GetParam());
        if (const auto place = find_profile_place(disk)) {
            EXPECT_EQ(read_slots(disk, place->extent).newest->text, "text") << "cut before operation " << cut;
            ++with;
        } else {
            ++without;
        }
        if (!was_cut) break;
    }
    EXPECT_GT(without, 5u);
    EXPECT_GT(with, 1u);
}

INSTANTIATE_TEST_SUITE_P(Sectors, ProfilePartitionOnDisk, ::testing::Values(512u, 4096u));

// -- the next init after a cut one
// -----------------------------------------------------------------------------------------------------------

const StoredProfile kFirstProfile{1, "schema = 1\n", {std::string(32, 's')}};

PartitionPlan plan_again(const block::Reader& disk, const StoredProfile& first, std::uint64_t seed) {
    SeededRandom random(seed);
    return plan_on_disk(disk, {}, first, random);
}

std::shared_ptr<const test::CrashDisk::Log> init_on(const Bytes& medium, const StoredProfile& first,
                                                    std::uint64_t seed, Bytes& after) {
    auto device = std::make_unique<test::CrashDisk>(medium);
    const auto log = device->log();
    const PartitionPlan planned = plan_again(*device, first, seed);
    block::Target target(std::move(device),
                         block::ProtectedRegions::all_except(extents_to_write(planned, kSmallDisk),
                                                             kSmallDisk, "the profile and the table"));
    apply_profile_partition(target, planned, first);
    after = block::read_extent(target, {0, kSmallDisk});
    return log;
}

std::shared_ptr<DiskBytes> disk_of(const Bytes& content) {
    auto disk = std::make_shared<DiskBytes>(0);
    disk->content = content;
    return disk;
}

bool is_whole(const Bytes& content, const StoredProfile& first) {
    const MemoryDevice disk(disk_of(content));
    const PartitionTable table = layout::read_partition_table(disk);
    const auto place = find_profile_place(disk);
    return table.primary_valid && table.backup_valid && table.problems.empty() && place &&
           read_slots(disk, place->extent).newest->text == first.text;
}

// Onto a disk with this content; every cut, torn writes and lost caches included.
void expect_every_cut_is_completed(const Bytes& before, const StoredProfile& first) {
    Bytes after;
    const auto log = init_on(before, first, 1, after);
    ASSERT_TRUE(is_whole(after, first));
    for (std::size_t cut = 0; cut <= log->size(); ++cut)
        for (const test::Cut kind : {test::Cut::kPrefix, test::Cut::kTorn, test::Cut::kSubset})
            for (std::uint64_t round = 0; round < 3; ++round) {
                SeededRandom random(cut * 100 + round);
                const Bytes medium = test::medium_after(before, *log, cut, kind, random);
                const std::string when = fmt::format("cut {} of {}, kind {}, round {}", cut, log->size(),
                                                     static_cast<int>(kind), round);
                if (medium == before && round != 0) continue;
                if (is_whole(medium, first)) continue;  // all was done, only nobody heard of it
                StoredProfile again = first;
                again.secret.bytes = std::string(32, 't');
                try {
                    init_on(medium, again, 2, after);
                } catch (const Error& e) {
                    FAIL() << when << ": " << e.what();
                }
                ASSERT_TRUE(is_whole(after, first)) << when;
            }
}

TEST(ProfileInitAfterACut, CompletesItOnABlankDisk) {
    expect_every_cut_is_completed(Bytes(kSmallDisk), kFirstProfile);
}

TEST(ProfileInitAfterACut, CompletesItOnADiskWithPartitions) {
    auto disk = test::make_gpt_disk(kSmallDisk, {{1, {kMiB, 3 * kMiB}}, {2, {3 * kMiB, 8 * kMiB}}}, 1);
    expect_every_cut_is_completed(disk->content, kFirstProfile);
}

// The profile may have been read already: what is derived from its secret must stay the same.
TEST(ProfileInitAfterACut, KeepsTheSecretThatWasWritten) {
    Bytes after;
    init_on(Bytes(kSmallDisk), kFirstProfile, 1, after);
    std::fill_n(after.begin(), kMiB, std::byte{0});  // the primary table never came
    std::fill(after.end() - 33 * 512, after.end(), std::byte{0});
    StoredProfile again = kFirstProfile;
    again.secret.bytes = std::string(32, 't');
    init_on(after, again, 2, after);
    const MemoryDevice disk(disk_of(after));
    EXPECT_EQ(read_slots(disk, find_profile_place(disk)->extent).newest->secret.bytes,
              kFirstProfile.secret.bytes);
}

TEST(ProfileInitAfterACut, DoesNotTakeAnotherProfileOrAnybodysBytesForItsOwn) {
    Bytes after;
    init_on(Bytes(kSmallDisk), kFirstProfile, 1, after);
    std::fill_n(after.begin(), kMiB, std::byte{0});
    std::fill(after.end() - 33 * 512, after.end(), std::byte{0});
    const StoredProfile other{1, "another text", kFirstProfile.secret};
    EXPECT_THAT(message_of(Code::kRefused, [&] { plan_again(MemoryDevice(disk_of(after)), other, 2); }),
                HasSubstr("with the same --from"));
    for (const ByteOffset at : {11 * kMiB + 5 * 512, 12 * kMiB, kSmallDisk - 512, ByteOffset{1024}}) {
        Bytes foreign(kSmallDisk);
        foreign[at] = std::byte{1};
        EXPECT_THAT(
            message_of(Code::kRefused, [&] { plan_again(MemoryDevice(disk_of(foreign)), kFirstProfile, 2); }),
            HasSubstr("is not blank"))
            << at;
        Bytes both = after;
        both[at] ^= std::byte{1};
        EXPECT_NE(
            message_of(Code::kRefused, [&] { plan_again(MemoryDevice(disk_of(both)), kFirstProfile, 2); }),
            "")
            << at;
    }
}

TEST(ProfilePlace, IsFoundInTheMarkOfACopyThatWasCut) {
    layout::IncompleteMark mark;
    mark.source = "golden";
    mark.size_bytes = kDisk;
    Partition profile = partition(128, 59, 63);
    profile.type_guid = layout::type_guid::kProfile;
    mark.kept = {{"data", {30 * kMiB, 40 * kMiB}, partition(3, 30, 40)},
                 {"profile", profile.extent, profile}};
    MemoryDevice disk(kDisk);
    const Bytes bytes = layout::encode_mark(mark, 512);
    disk.write(layout::mark_extent_tail(disk.geometry()).begin, bytes);
    EXPECT_EQ(find_profile_place(disk), (ProfilePlace{profile.extent, 128, 512}));
    EXPECT_EQ(find_profile_place(MemoryDevice(kDisk)), std::nullopt);
}

}  // namespace
}  // namespace dupengine::profiles
