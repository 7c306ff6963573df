// Taking up a role on the disks of one machine together.

#include <gmock/gmock.h>

#include "profiles/items/item.h"
#include "tests/unit/profiles/assume_fixture.h"

namespace dupengine::profiles {
namespace {

using test::FakeSystem;
using ::testing::AllOf;
using ::testing::Each;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

struct AssumeSet : AssumeTest {
    AssumeSet() { spread_over_three_disks(system); }
    const std::string& value(IdentifierKind kind, PartitionId partition) const {
        for (const Identifier& identifier : system.ids)
            if (identifier.kind == kind && identifier.partition == partition) return identifier.value;
        throw std::out_of_range("no such identifier");
    }
};

TEST_F(AssumeSet, WhatOneDiskSaysOfAnotherKnowsItsNewIdentifiers) {
    assume(system);
    const std::string home = value(IdentifierKind::kFilesystemUuid, {2, 1}),
                      vault = value(IdentifierKind::kPartitionGuid, {2, 2}),
                      root = value(IdentifierKind::kFilesystemUuid, 2),
                      swap = value(IdentifierKind::kSwapUuid, {1, 3});
    EXPECT_NE(home, test::kGoldenHome);
    EXPECT_NE(swap, test::kGoldenSwap);
    EXPECT_THAT(system.root_files.text("/etc/fstab"),
                AllOf(HasSubstr("UUID=" + home + " /home "), HasSubstr("/dev/disk/by-uuid/" + swap + " none"),
                      HasSubstr("UUID=" + value(IdentifierKind::kFatId, {1, 1}) + " /boot/efi")));
    EXPECT_EQ(system.root_files.text("/etc/crypttab"), "vault PARTUUID=" + vault + " none luks\n");
    EXPECT_THAT(system.root_files.text("/etc/systemd/system/srv.mount"), HasSubstr(home));
    // On the second disk, of the first.
    EXPECT_EQ(system.boot_files.text("/EFI/debian/grub.cfg"), "search.fs_uuid " + root + " root hd0,gpt2\n");
}

TEST_F(AssumeSet, NothingOfThreeDisksHasTheIdentifierOfAnother) {
    assume(system);
    std::set<std::string> values;
    for (const Identifier& identifier : system.ids)
        EXPECT_TRUE(values.insert(identifier.value).second) << identifier.where;
    EXPECT_EQ(values.size(), 9u);
}

// A machine that had one disk keeps what was derived for it when it gets another.
TEST_F(AssumeSet, TheFirstDiskGetsWhatItWouldGetAlone) {
    FakeSystem alone;
    fill_golden(alone);
    assume(alone);
    assume(system);
    EXPECT_EQ(value(IdentifierKind::kFilesystemUuid, 2), alone.ids[1].value);
    EXPECT_EQ(value(IdentifierKind::kDiskGuid, 0), alone.ids[4].value);
}

TEST_F(AssumeSet, ASecondRunFindsNothingToChangeInWhateverOrderTheDisksAreGiven) {
    assume(system);
    EXPECT_TRUE(plan(system, web_profile()).empty());
    system.choose_order({0, 2, 1});
    EXPECT_TRUE(plan(system, web_profile()).empty());
    EXPECT_THAT(system.names, ElementsAre("first", "second", "third"));
}

TEST_F(AssumeSet, UndoBringsBackEveryDiskInWhateverOrderTheyAreGiven) {
    const std::string before = system.picture();
    assume(system);
    system.choose_order({0, 2, 1});
    EXPECT_THAT(plan_undo(kSecret, system).changes, Not(::testing::IsEmpty()));
    undo_assume(kSecret, system);
    EXPECT_EQ(system.picture(), before);
}

// Somebody forgot the third disk: it takes up the role with the next run.
TEST_F(AssumeSet, ADiskThatIsGivenLaterFollows) {
    FakeSystem two;
    fill_golden(two);
    spread_over_three_disks(two);
    take_disk_away(two, 2);
    assume(two);
    EXPECT_THAT(two.root_files.text("/etc/fstab"), HasSubstr(test::kGoldenHome));
    two.names.emplace_back("third");
    two.ids.push_back(
        {IdentifierKind::kFilesystemUuid, {2, 1}, test::kGoldenHome, "partition 1 of third", {}});
    two.ids.push_back({IdentifierKind::kDiskGuid, {2, 0}, "34343434-8888-4888-8888-343434343434", "", {}});
    two.parts.push_back({2, 1});
    assume(two);
    const std::string& home = two.ids[two.ids.size() - 2].value;
    EXPECT_NE(home, test::kGoldenHome);
    EXPECT_THAT(two.root_files.text("/etc/fstab"), HasSubstr("UUID=" + home + " /home"));
    EXPECT_TRUE(plan(two, web_profile()).empty());
}

TEST_F(AssumeSet, TwoDisksThatCarryOneIdentifierAreRefused) {
    for (Identifier& identifier : system.ids)
        if (identifier.value == test::kGoldenHome) identifier.value = test::kGoldenRoot;
    const std::string before = system.picture();
    EXPECT_THAT(refusal_of([&] { assume(system); }),
                AllOf(HasSubstr("partition 2 (ext4)"), HasSubstr("partition 1 of third"),
                      HasSubstr(test::kGoldenRoot), HasSubstr("could mean either")));
    EXPECT_EQ(system.picture(), before);
}

// Without the journal nobody knows the order any more; the identifiers would change places.
TEST_F(AssumeSet, DisksThatWouldSwapTheirIdentifiersAreRefused) {
    system.ids.push_back({IdentifierKind::kFilesystemUuid,
                          {1, 1},
                          "56565656-9999-4999-8999-565656565656",
                          "partition 1 of second",
                          {}});
    assume(system);
    system.root_files.put("/var/lib/dupengine/assume/state", {});
    system.choose_order({0, 2, 1});
    EXPECT_THAT(refusal_of([&] { plan(system, web_profile()); }), HasSubstr("the order in which they"));
}

TEST_F(AssumeSet, OneValueInTheProfileIsNotEnoughForSeveralDisks) {
    Profile profile = web_profile();
    profile.disk_guid = {Mode::kSet, "78787878-aaaa-4aaa-8aaa-787878787878"};
    EXPECT_THAT(refusal_of([&] { assume(system, profile); }),
                HasSubstr("sets one disk_guid, but there are 3"));
}

TEST_F(AssumeSet, APartitionIsKeptOnItsOwnDiskOnly) {
    SeededRandom random(1);
    AssumeOptions options;
    options.kept_partitions = {{2, 1}};
    apply_assume(plan_assume(web_profile(), kSecret, system, random, options), kSecret, system);
    EXPECT_EQ(value(IdentifierKind::kFilesystemUuid, {2, 1}), test::kGoldenHome);
    EXPECT_NE(value(IdentifierKind::kFatId, {1, 1}), test::kGoldenEsp);
    system.choose_order({0, 2, 1});
    EXPECT_TRUE(plan(system, web_profile()).empty());
    options.kept_partitions = {{1, 7}};
    EXPECT_THAT(refusal_of([&] { plan_assume(web_profile(), kSecret, system, random, options); }),
                HasSubstr("--keep-partition second:7"));
}

// A volume group lies on the second and the third disk. It is renamed on neither.
TEST_F(AssumeSet, WhatCannotBeRenamedOnOneDiskIsRenamedOnNone) {
    const std::string first = "VolUme-0001-first", second = "VolUme-0002-second";
    system.ids.push_back({IdentifierKind::kFilesystemUuid, {1, 4}, first, "volume 1", "not supported"});
    system.ids.push_back({IdentifierKind::kFilesystemUuid, {2, 4}, second, "volume 2", "not supported"});
    const AssumePlan made = plan(system, web_profile());
    for (const IdentifierChange& change : made.identifiers)
        EXPECT_THAT(change.before, AllOf(Not(first), Not(second)));
    EXPECT_THAT(made.notes,
                AllOf(::testing::Contains(HasSubstr(first)), ::testing::Contains(HasSubstr(second))));
}

// Two MBR disks: a PARTUUID is a disk's signature and a partition's number, and a number is not everywhere.
TEST(AssumeMbrSet, PartuuidsFollowTheSignatureOfTheirOwnDisk) {
    const IdentifierMap map =
        storage_references({{IdentifierKind::kDiskSignature, {0, 0}, "deadbeef", "11111111", ""},
                            {IdentifierKind::kDiskSignature, {1, 0}, "0badcafe", "22222222", ""}},
                           {{0, 1}, {1, 1}, {1, 2}});
    EXPECT_EQ(map.rewrite("deadbeef-01 deadbeef-02 0badcafe-01 0badcafe-02"),
              "11111111-01 deadbeef-02 22222222-01 22222222-02");
}

}  // namespace
}  // namespace dupengine::profiles
