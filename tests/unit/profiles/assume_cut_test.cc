// Taking up a role and going back, cut at any write.

#include <gmock/gmock.h>

#include "profiles/assume_journal.h"
#include "tests/unit/profiles/assume_fixture.h"

namespace dupengine::profiles {
namespace {

using test::FakeSystem;
using test::PowerCut;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

// The folder of the journal may outlive a cut undo, empty; a cut before the journal was valid leaves images
// behind.
TEST_F(AssumeTest, ACutAtAnyWriteIsFinishedByTheNextRun) {
    FakeSystem uncut;
    fill_golden(uncut);
    assume(uncut);
    const std::string whole = uncut.picture_of_system();
    const AssumePlan made = plan(system, web_profile());
    for_every_cut([](FakeSystem&) {}, [&](FakeSystem& cut) { apply_assume(made, kSecret, cut); },
                  [&](FakeSystem& cut) {
                      const bool begun = find_pending(kSecret, cut) == Pending::kFinish;
                      complete_pending(kSecret, cut);
                      if (!begun && cut.picture_of_system() != whole) apply_assume(made, kSecret, cut);
                      EXPECT_EQ(cut.picture_of_system(), whole);
                      EXPECT_EQ(find_pending(kSecret, cut), Pending::kNothing);
                      // Private keys of this node, or of the source it was.
                      EXPECT_THAT(cut.root_files.picture(), Not(HasSubstr("/after-")));
                  });
}

// FAT's renames are not whole: what the kernel lies in may be at no place at all after a cut.
TEST_F(AssumeTest, ACutRenameOnTheBootPartitionLosesNoKernel) {
    const AssumePlan made = plan(system, web_profile());
    const auto kernel_of = [](FakeSystem& cut) {
        const std::string machine = cut.root_files.text("/etc/machine-id").substr(0, 32);
        EXPECT_THAT(cut.boot_files.list("/loader/entries"), ElementsAre(machine + "-6.1.conf"));
        return cut.boot_files.text("/" + machine + "/6.1/linux");
    };
    const std::string kernel = kernel_of(system);
    EXPECT_EQ(kernel.size(), 9u);
    for_every_cut([](FakeSystem&) {}, [&](FakeSystem& cut) { apply_assume(made, kSecret, cut); },
                  [&](FakeSystem& cut) {
                      complete_pending(kSecret, cut);
                      EXPECT_EQ(kernel_of(cut), kernel);
                      EXPECT_THAT(cut.boot_files.list("/"), Not(Contains("SHORT~1.CON")));
                      if (cut.root_files.text("/etc/hostname") == "web-1\n") undo_assume(kSecret, cut);
                      EXPECT_EQ(kernel_of(cut), kernel);
                  });
}

TEST_F(AssumeTest, ACutAtAnyWriteCanBeUndoneInstead) {
    const std::string before = system.picture_of_system();
    const AssumePlan made = plan(system, web_profile());
    for_every_cut([](FakeSystem&) {}, [&](FakeSystem& cut) { apply_assume(made, kSecret, cut); },
                  [&](FakeSystem& cut) {
                      const bool begun = find_pending(kSecret, cut) == Pending::kFinish;
                      if (!begun) complete_pending(kSecret, cut);
                      EXPECT_THAT(begun ? "" : cut.root_files.picture(), Not(HasSubstr("/after-")));
                      if (begun || cut.picture_of_system() != before) undo_assume(kSecret, cut);
                      EXPECT_EQ(cut.picture_of_system(), before);
                  });
}

TEST_F(AssumeTest, ACutUndoIsCompletedByTheNextRun) {
    const std::string before = system.picture_of_system();
    const AssumePlan made = plan(system, web_profile());
    for_every_cut([&](FakeSystem& fresh) { apply_assume(made, kSecret, fresh); },
                  [](FakeSystem& cut) { undo_assume(kSecret, cut); },
                  [&](FakeSystem& cut) {
                      complete_pending(kSecret, cut);
                      // Cut before the journal said so: then the role is still there, whole.
                      if (cut.picture_of_system() != before) undo_assume(kSecret, cut);
                      EXPECT_EQ(cut.picture_of_system(), before);
                  });
}

// The disks are given in another order than in the run that was cut.
TEST_F(AssumeTest, ACutAtAnyWriteOverThreeDisksIsFinishedByTheNextRun) {
    FakeSystem uncut;
    fill_golden(uncut);
    spread_over_three_disks(uncut);
    const AssumePlan made = plan(uncut, web_profile());
    apply_assume(made, kSecret, uncut);
    const std::string whole = uncut.picture_of_system();
    for_every_cut([](FakeSystem& fresh) { spread_over_three_disks(fresh); },
                  [&](FakeSystem& cut) { apply_assume(made, kSecret, cut); },
                  [&](FakeSystem& cut) {
                      cut.choose_order({0, 2, 1});
                      const bool begun = find_pending(kSecret, cut) == Pending::kFinish;
                      complete_pending(kSecret, cut);
                      if (!begun && cut.picture_of_system() != whole) {
                          cut.choose_order({0, 2, 1});
                          apply_assume(made, kSecret, cut);
                      }
                      EXPECT_EQ(cut.picture_of_system(), whole);
                      EXPECT_EQ(find_pending(kSecret, cut), Pending::kNothing);
                  });
}

TEST_F(AssumeTest, ACutAtAnyWriteOverThreeDisksCanBeUndoneInstead) {
    spread_over_three_disks(system);
    const std::string before = system.picture_of_system();
    const AssumePlan made = plan(system, web_profile());
    for_every_cut([](FakeSystem& fresh) { spread_over_three_disks(fresh); },
                  [&](FakeSystem& cut) { apply_assume(made, kSecret, cut); },
                  [&](FakeSystem& cut) {
                      cut.choose_order({0, 2, 1});
                      const bool begun = find_pending(kSecret, cut) == Pending::kFinish;
                      if (!begun) complete_pending(kSecret, cut);
                      if (begun || cut.picture_of_system() != before) undo_assume(kSecret, cut);
                      EXPECT_EQ(cut.picture_of_system(), before);
                  });
}

// References on the first disk speak of identifiers that only the third one can get, or keep.
TEST_F(AssumeTest, ACutOverThreeDisksIsNotGoneOnWithOnTwo) {
    spread_over_three_disks(system);
    const AssumePlan made = plan(system, web_profile());
    for_every_cut([](FakeSystem& fresh) { spread_over_three_disks(fresh); },
                  [&](FakeSystem& cut) { apply_assume(made, kSecret, cut); },
                  [&](FakeSystem& cut) {
                      const Pending pending = find_pending(kSecret, cut);
                      take_disk_away(cut, 2);
                      const std::string before = cut.picture();
                      if (pending == Pending::kNothing && !AssumeJournal(cut, kSecret).load()) return;
                      if (pending == Pending::kTidy && !AssumeJournal(cut, kSecret).load()) return;
                      for (const auto& action : {+[](FakeSystem& s) { find_pending(kSecret, s); },
                                                 +[](FakeSystem& s) { require_disks(kSecret, s); },
                                                 +[](FakeSystem& s) { plan(s, web_profile()); },
                                                 +[](FakeSystem& s) { plan_undo(kSecret, s); },
                                                 +[](FakeSystem& s) { undo_assume(kSecret, s); }})
                          EXPECT_THAT(refusal_of([&] { action(cut); }), HasSubstr("third"));
                      if (pending == Pending::kFinish) {
                          EXPECT_THAT(refusal_of([&] { complete_pending(kSecret, cut); }),
                                      HasSubstr("third"));
                      }
                      EXPECT_EQ(cut.picture(), before);
                  });
}

TEST_F(AssumeTest, ASourceThatWasCutInTheMiddleIsRefused) {
    system.power.at = 60;
    EXPECT_THROW(assume(system, web_profile(), kOtherSecret), PowerCut::Happened);
    system.power.at = 0;
    EXPECT_THAT(refusal_of([&] { plan(system, web_profile()); }),
                HasSubstr("in the middle of taking up the role of 'web-1'"));
}

// A cut between "done" and the last image: the images hold private host keys.
TEST_F(AssumeTest, WhatACutLeftInTheJournalIsTakenAwayByTheNextRun) {
    assume(system);
    const std::string whole = system.picture();
    for (const char* left : {"/var/lib/dupengine/assume/1/after-3", "/var/lib/dupengine/assume/7/before-0"})
        system.root_files.add(left, "a private key");
    EXPECT_EQ(find_pending(kSecret, system), Pending::kTidy);
    complete_pending(kSecret, system);
    EXPECT_EQ(system.picture(), whole);
    EXPECT_EQ(find_pending(kSecret, system), Pending::kNothing);
}

TEST_F(AssumeTest, WhatACutLeftBeforeTheJournalWasValidIsTakenAwayToo) {
    const std::string before = system.picture();
    system.root_files.add("/var/lib/dupengine/assume/1/after-0", "a private key");
    EXPECT_EQ(find_pending(kSecret, system), Pending::kTidy);
    EXPECT_FALSE(plan(system, web_profile()).empty());
    complete_pending(kSecret, system);
    EXPECT_EQ(system.picture(), before);
}

}  // namespace
}  // namespace dupengine::profiles
