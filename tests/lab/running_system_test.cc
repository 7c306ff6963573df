// A running system on Debian's own kernel, whose vfat has the EFI system partition mounted. Runs on the lab
// machine.

#include <gmock/gmock.h>
#include <sys/mount.h>

#include "tests/support/fake_system.h"
#include "tests/system/running_disk.h"

namespace dupengine::profiles {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

class DebianRunning : public RunningDiskTest {
  protected:
    std::string efi() const { return root_ + "/boot/efi"; }
    void mount_efi() {
        ASSERT_EQ(::mount(node(1).c_str(), efi().c_str(), "vfat", 0, "umask=0077"), 0)
            << std::strerror(errno);
    }
    AssumePlan take_up_all() {
        RunningSystem system = running();
        EXPECT_THAT(system.unsearchable(), IsEmpty());
        const NodeSecret secret = role().profile.secret;
        AssumePlan made = planned(system, {});
        apply_assume(made, secret, system);
        return made;
    }
    // The kernel marks FAT clean when it is unmounted, in the very sector that holds the volume id.
    void expect_taken_up(const AssumePlan& plan) {
        const std::string fat = after(plan, IdentifierKind::kFatId, 1),
                          root = after(plan, IdentifierKind::kFilesystemUuid, 3);
        EXPECT_NE(fat, test::kGoldenEsp);
        EXPECT_EQ(test::probed(golden_.path, golden_.esp, "UUID"), fat);
        EXPECT_EQ(test::probed(golden_.path, golden_.root, "UUID"), root);
        EXPECT_THAT(test::root_file(golden_, "/etc/fstab"), HasSubstr("UUID=" + fat + " /boot/efi"));
        EXPECT_THAT(test::esp_file(golden_, "/loader/loader.conf"), Not(HasSubstr(test::kGoldenMachine)));
        EXPECT_EQ(range_digest(128), profile_digest_);
        expect_sound(golden_);
        EXPECT_EQ(must_assume(golden_.path)["result"], "nothing to change");
    }
};

TEST_F(DebianRunning, TheIdOfAMountedFatOutlivesItsUnmounting) {
    start();
    mount_efi();
    const AssumePlan plan = take_up_all();
    ::umount(efi().c_str());
    stop();
    expect_taken_up(plan);
}

TEST_F(DebianRunning, AnEspThatIsNotMountedIsLookedThroughAllTheSame) {
    start();
    const AssumePlan plan = take_up_all();
    stop();
    expect_taken_up(plan);
}

TEST_F(DebianRunning, WhatWasChangedOnAMountedFatIsUndoneWithoutIt) {
    start();
    stop();
    const std::string original = picture(golden_);
    loop_.emplace(golden_.path);
    nodes_.emplace(*loop_);
    mount_root();
    mount_efi();
    take_up_all();
    ::umount(efi().c_str());
    stop();
    must_assume(golden_.path, {"--yes", "--undo"});
    EXPECT_EQ(picture(golden_), original);
    expect_sound(golden_);
}

}  // namespace
}  // namespace dupengine::profiles
