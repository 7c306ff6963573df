// Going back to what was there before a role was taken up.

#include <gmock/gmock.h>

#include "tests/unit/profiles/assume_fixture.h"

namespace dupengine::profiles {
namespace {

using test::FakeSystem;
using ::testing::Contains;
using ::testing::HasSubstr;

TEST_F(AssumeTest, UndoBringsBackEveryByte) {
    const std::string before = system.picture();
    assume(system);
    EXPECT_NE(system.picture(), before);
    EXPECT_FALSE(plan_undo(kSecret, system).changes.empty());
    EXPECT_EQ(plan_undo(kSecret, system).node, "web-1");
    undo_assume(kSecret, system);
    EXPECT_EQ(system.picture(), before);
    EXPECT_THAT(refusal_of([&] { undo_assume(kSecret, system); }), HasSubstr("nothing to undo"));
}

// The first start makes keys, a machine-id and seeds of its own. They are nobody's to lose, and no reason to
// keep the rest of a role that was a mistake.
TEST_F(AssumeTest, UndoAfterTheFirstStartLeavesWhatTheSystemMadeAndUndoesTheRest) {
    const std::string machine = "99999999999999999999999999999999\n";
    Profile profile = web_profile();
    profile.machine_id.mode = Mode::kRemove;
    profile.ssh_host_keys.mode = Mode::kRemove;
    profile.random_seed.mode = Mode::kRemove;
    assume(system, profile);
    system.root_files.add("/etc/machine-id", machine, 0444);
    system.root_files.add("/etc/ssh/ssh_host_rsa_key", "made at the first start\n", 0600);
    system.root_files.add("/var/lib/systemd/random-seed", std::string(512, 'n'), 0600);
    const UndoPlan undo = plan_undo(kSecret, system);
    EXPECT_THAT(undo.notes, Contains(HasSubstr("/etc/machine-id")));
    EXPECT_THAT(undo.notes, Contains(HasSubstr("/etc/ssh/ssh_host_rsa_key:")));
    undo_assume(kSecret, system);
    EXPECT_EQ(system.root_files.text("/etc/machine-id"), machine);
    EXPECT_EQ(system.root_files.text("/etc/ssh/ssh_host_rsa_key"), "made at the first start\n");
    EXPECT_EQ(system.root_files.text("/etc/hostname"), "golden\n");
    EXPECT_THAT(system.root_files.text("/etc/fstab"), HasSubstr(test::kGoldenRoot));
    EXPECT_EQ(system.ids[1].value, test::kGoldenRoot);
    EXPECT_EQ(find_pending(kSecret, system), Pending::kNothing);
}

TEST_F(AssumeTest, UndoLeavesWhatSomebodyWroteSinceAlsoIfItIsCut) {
    const AssumePlan made = plan(system, web_profile());
    for_every_cut(
        [&](FakeSystem& fresh) {
            apply_assume(made, kSecret, fresh);
            fresh.root_files.add("/etc/hosts", "somebody's work\n");
        },
        [](FakeSystem& cut) { undo_assume(kSecret, cut); },
        [&](FakeSystem& cut) {
            complete_pending(kSecret, cut);
            if (cut.root_files.text("/etc/hostname") != "golden\n") undo_assume(kSecret, cut);
            EXPECT_EQ(cut.root_files.text("/etc/hosts"), "somebody's work\n");
            EXPECT_EQ(cut.root_files.text("/etc/hostname"), "golden\n");
        });
}

// The line in fstab knows the new UUID only. After undo that file system would not be found any more.
TEST_F(AssumeTest, UndoRefusesIfSomethingNewKnowsTheNewIdentifiers) {
    assume(system);
    const std::string root = system.ids[1].value;
    for (const auto& [path, text] :
         {std::pair<std::string, std::string>{"/etc/fstab",
                                              system.root_files.text("/etc/fstab") + "# mine\n"},
          {"/boot/grub/custom.cfg", "linux /vmlinuz-7 root=UUID=" + root + "\n"}}) {
        const std::string old = system.root_files.text(path);
        system.root_files.add(path, text);
        const std::string before = system.picture();
        const std::string message = refusal_of([&] { undo_assume(kSecret, system); });
        EXPECT_THAT(message, HasSubstr(path));
        EXPECT_THAT(message, HasSubstr("--leave-reference"));
        EXPECT_EQ(system.picture(), before);
        AssumeOptions accepted;
        accepted.left_references = {path};
        EXPECT_FALSE(plan_undo(kSecret, system, accepted).changes.empty());
        old.empty() ? system.root_files.put(path, {}) : system.root_files.add(path, old);
    }
    undo_assume(kSecret, system);
}

}  // namespace
}  // namespace dupengine::profiles
