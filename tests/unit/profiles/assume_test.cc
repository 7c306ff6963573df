// Taking up a role: what changes, what stays, what stops it.

#include <gmock/gmock.h>

#include "tests/unit/profiles/assume_fixture.h"

namespace dupengine::profiles {
namespace {

using test::FakeSystem;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

TEST_F(AssumeTest, NothingOfTheSourceIdentityIsLeftInTheCopy) {
    assume(system);
    // The journal keeps what was there, for undo; everything else is the node's own.
    const std::string rest = system.picture_of_system();
    for (const std::string& old :
         {test::kGoldenRoot, test::kGoldenSwap, test::kGoldenEsp, test::kGoldenRootPart, test::kGoldenDisk,
          test::kGoldenMachine, std::string("bbbbbbbb\\x2d2222")}) {
        std::size_t at = rest.find(old);
        // In an initramfs the old member stays and a later one replaces it.
        while (at != std::string::npos &&
               rest.substr(rest.rfind("07070", at), 400).find("resume") != std::string::npos)
            at = rest.find(old, at + 1);
        EXPECT_EQ(at, std::string::npos) << rest.substr(at > 100 ? at - 100 : 0, 200);
    }
    EXPECT_THAT(rest, Not(HasSubstr("the source's")));
    EXPECT_EQ(system.root_files.text("/etc/hostname"), "web-1\n");
}

TEST_F(AssumeTest, NamesInHostsFollowAndLookalikesStay) {
    assume(system);
    EXPECT_THAT(
        system.root_files.text("/etc/hosts"),
        HasSubstr("127.0.0.1\tlocalhost\n127.0.1.1\tweb-1.example web-1 # golden\n10.0.0.9 goldenrod\n"));
    EXPECT_THAT(system.root_files.text("/etc/hosts"), HasSubstr("10.0.0.2\tstorage-1 storage\n"));
    EXPECT_EQ(system.root_files.text("/etc/mailname"), "web-1.example\n");
}

TEST_F(AssumeTest, EveryReferenceNamesTheIdentifierThatTheDiskHasNow) {
    assume(system);
    std::string root, swap, esp, root_part;
    for (const Identifier& identifier : system.ids) {
        if (identifier.kind == IdentifierKind::kFilesystemUuid) root = identifier.value;
        if (identifier.kind == IdentifierKind::kSwapUuid) swap = identifier.value;
        if (identifier.kind == IdentifierKind::kFatId) esp = identifier.value;
        if (identifier.kind == IdentifierKind::kPartitionGuid) root_part = identifier.value;
    }
    const auto& files = system.root_files;
    EXPECT_EQ(files.text("/etc/fstab"), "UUID=" + root + " / ext4 defaults 0 1\nUUID=" + esp +
                                            " /boot/efi vfat umask=0077 0 1\n/dev/disk/by-uuid/" + swap +
                                            " none swap sw 0 0\n");
    EXPECT_THAT(files.text("/etc/default/grub"), HasSubstr(root_part));
    EXPECT_THAT(files.text("/etc/kernel/cmdline"), HasSubstr(root));
    EXPECT_THAT(files.text("/etc/initramfs-tools/conf.d/resume"), HasSubstr(swap));
    EXPECT_THAT(files.text("/boot/grub/grub.cfg"), HasSubstr("linux /vmlinuz root=UUID=" + root));
    EXPECT_THAT(files.text("/boot/grub/grubenv"), HasSubstr(root));
    EXPECT_EQ(files.text("/boot/grub/grubenv").size(), 1024u);
    EXPECT_THAT(system.boot_files.text("/EFI/debian/grub.cfg"), HasSubstr(root));
    const std::string machine = files.text("/etc/machine-id").substr(0, 32);
    const std::string entry = system.boot_files.text("/loader/entries/" + machine + "-6.1.conf");
    EXPECT_THAT(entry, HasSubstr("linux /" + machine + "/6.1/linux\n"));
    EXPECT_THAT(entry, HasSubstr("options root=UUID=" + root + " resume=UUID=" + swap));
    EXPECT_NE(system.boot_files.text("/" + machine + "/6.1/linux"), "");
    EXPECT_THAT(system.boot_files.text("/" + machine + "/6.1/initrd.img"), HasSubstr("RESUME=UUID=" + swap));
}

// Every place that is known to hold references. One that is forgotten is a machine that does not boot, or
// does without its swap.
TEST_F(AssumeTest, NoPlaceThatIsKnownToHoldReferencesIsForgotten) {
    const std::vector<std::string> places = {
        "/etc/crypttab",
        "/etc/default/grub.d/50-x.cfg",
        "/etc/default/zramswap",
        "/etc/kernel/cmdline.d/root.conf",
        "/etc/kernel/install.conf",
        "/usr/lib/kernel/cmdline",
        "/etc/dracut.conf.d/resume.conf",
        "/usr/lib/dracut/dracut.conf.d/resume.conf",
        "/etc/initramfs-tools/conf.d/root",
        "/usr/share/initramfs-tools/conf.d/root",
        "/etc/udev/rules.d/90-disk.rules",
        "/usr/lib/udev/rules.d/90-disk.rules",
        "/usr/local/lib/udev/rules.d/90-disk.rules",
        "/etc/mdadm/mdadm.conf",
        "/etc/lvm/devices/system.devices",
        "/etc/lilo.conf",
        "/etc/systemd/system/srv.mount",
        "/etc/systemd/system/x.service.d/wait.conf",
        "/usr/lib/systemd/system/srv.mount",
        "/usr/local/lib/systemd/system/srv.mount",
        "/usr/lib/systemd/system/x.service.d/wait.conf",
        "/usr/lib/repart.d/50-root.conf",
        "/boot/grub/custom.cfg",
        "/boot/grub2/grub.cfg",
        "/boot/extlinux/extlinux.conf",
        "/boot/syslinux/syslinux.cfg",
        "/boot/loader/entries/x.conf",
        "/boot/cmdline.txt",
        "/boot/armbianEnv.txt",
        "/boot/efi/EFI/refind/refind.conf",
        "/extlinux/extlinux.conf",
    };
    Tree& tree = system.tree();
    const auto make_folder = [&](const auto& self, const std::string& path) -> void {
        if (tree.look(path).exists()) return;
        self(self, parent_of(path));
        tree.put(path, Node::folder(0755));
    };
    for (const std::string& path : places) {
        make_folder(make_folder, parent_of(path));
        tree.put(path, Node::file("root=UUID=" + test::kGoldenRoot + "\n", 0644));
    }
    system.root_files.add("/persist/veritytab", "UUID=" + test::kGoldenRoot + "\n");
    system.root_files.add_link("/etc/veritytab", "/persist/veritytab");
    assume(system);
    for (const std::string& path : places)
        EXPECT_EQ(read_text(system.tree(), path), "root=UUID=" + system.ids[1].value + "\n") << path;
    EXPECT_EQ(system.root_files.text("/persist/veritytab"), "UUID=" + system.ids[1].value + "\n");
    EXPECT_TRUE(plan(system, web_profile()).empty());
}

TEST_F(AssumeTest, UnitsNamedByAnIdentifierAreRenamedWithTheirLinks) {
    assume(system);
    std::string escaped;
    for (const std::string& name : system.root_files.list("/etc/systemd/system"))
        if (name.ends_with(".swap")) escaped = name;
    ASSERT_NE(escaped, "");
    EXPECT_EQ(system.root_files.look("/etc/systemd/system/swap.target.wants/" + escaped).link_target,
              "/etc/systemd/system/" + escaped);
}

TEST_F(AssumeTest, ASecondRunFindsNothingToDoAndNeverOpensForWriting) {
    assume(system);
    const std::string before = system.picture();
    const unsigned opened = system.opened;
    const AssumePlan again = plan(system, web_profile(), kSecret, 99);
    EXPECT_TRUE(again.empty()) << again.changes.front().where;
    EXPECT_TRUE(again.changes.empty());
    apply_assume(again, kSecret, system);
    EXPECT_EQ(system.picture(), before);
    EXPECT_EQ(system.opened, opened);
}

TEST_F(AssumeTest, WhatWasDrawnOnceIsNotDrawnAgain) {
    Profile profile = web_profile();
    for (Item* item :
         {&profile.disk_guid, &profile.part_guid, &profile.fs_uuid, &profile.swap_uuid, &profile.machine_id})
        item->mode = Mode::kRegenerate;
    profile.ssh_host_keys.mode = Mode::kRegenerate;
    assume(system, profile);
    const std::string before = system.picture();
    EXPECT_TRUE(plan(system, profile, kSecret, 2).empty());
    profile.files[0].content = "changed\n";
    const AssumePlan third = plan(system, profile, kSecret, 3);
    ASSERT_EQ(third.puts.size(), 1u);
    apply_assume(third, kSecret, system);
    EXPECT_TRUE(plan(system, profile, kSecret, 4).empty());
    EXPECT_NE(system.picture(), before);
}

TEST_F(AssumeTest, DerivedValuesComeBackAfterTheNextDuplication) {
    assume(system);
    FakeSystem next;
    fill_golden(next);
    assume(next);
    EXPECT_EQ(next.root_files.text("/etc/machine-id"), system.root_files.text("/etc/machine-id"));
    EXPECT_EQ(next.root_files.text("/etc/ssh/ssh_host_ed25519_key"),
              system.root_files.text("/etc/ssh/ssh_host_ed25519_key"));
    EXPECT_EQ(next.ids[1].value, system.ids[1].value);
}

TEST_F(AssumeTest, TwoNodesOfOneSourceShareNothing) {
    FakeSystem other;
    fill_golden(other);
    assume(system);
    assume(other, web_profile(), kOtherSecret);
    for (std::size_t i = 0; i < system.ids.size(); ++i)
        EXPECT_NE(system.ids[i].value, other.ids[i].value) << system.ids[i].where;
    for (const char* path :
         {"/etc/machine-id", "/etc/ssh/ssh_host_ed25519_key", "/etc/ssh/ssh_host_ecdsa_key"})
        EXPECT_NE(system.root_files.text(path), other.root_files.text(path)) << path;
}

TEST_F(AssumeTest, WhatIsRenamedOnTheBootPartitionNeedsRoomInTheJournal) {
    system.boot_files.add("/" + test::kGoldenMachine + "/6.1/initrd.img", std::string(8 << 20, 'x'));
    system.root_files.room = 4 << 20;
    const std::string before = system.picture();
    EXPECT_THAT(refusal_of([&] { assume(system); }), HasSubstr("the file system at / has"));
    EXPECT_EQ(system.picture(), before);
}

TEST_F(AssumeTest, ASourceThatHadItsOwnRoleIsNotTakenForOurs) {
    assume(system, web_profile(), kOtherSecret);  // the source itself; now it was copied here
    EXPECT_THAT(refusal_of([&] { undo_assume(kSecret, system); }), HasSubstr("nothing to undo"));
    assume(system);
    EXPECT_TRUE(plan(system, web_profile()).empty());
    EXPECT_FALSE(plan_undo(kSecret, system).changes.empty());
}

TEST_F(AssumeTest, AJournalWithOneChangedByteIsNobodys) {
    assume(system);
    std::string state = system.root_files.text("/var/lib/dupengine/assume/state");
    state[state.find("web-1")] = 'X';
    system.root_files.add("/var/lib/dupengine/assume/state", state);
    EXPECT_THAT(refusal_of([&] { undo_assume(kSecret, system); }), HasSubstr("nothing to undo"));
}

TEST_F(AssumeTest, AReferenceThatCannotBeRewrittenStopsEverything) {
    system.root_files.add("/boot/core.img", std::string("\x7f\0", 2) + test::kGoldenRoot);
    const std::string before = system.picture();
    const std::string message = refusal_of([&] { assume(system); });
    EXPECT_THAT(message, HasSubstr("/boot/core.img"));
    EXPECT_THAT(message, HasSubstr(test::kGoldenRoot));
    EXPECT_EQ(system.picture(), before);
    SeededRandom random(1);
    AssumeOptions options;
    options.left_references = {"/boot/core.img"};
    EXPECT_FALSE(plan_assume(web_profile(), kSecret, system, random, options).empty());
}

// grub.cfg on an XFS /boot names the root's UUID: after the change that machine would not boot.
TEST_F(AssumeTest, ABootPartitionThatCannotBeReadStopsEverything) {
    system.closed = {{"/boot", "partition 2 (xfs), which cannot be read here"}};
    const std::string before = system.picture();
    const std::string message = refusal_of([&] { assume(system); });
    for (const char* part : {"/boot is partition 2 (xfs)", "--leave-reference", "--keep-partition"})
        EXPECT_THAT(message, HasSubstr(part));
    EXPECT_EQ(system.picture(), before);
    SeededRandom random(1);
    AssumeOptions options;
    options.left_references = {"/boot"};
    EXPECT_THAT(plan_assume(web_profile(), kSecret, system, random, options).notes,
                Contains(HasSubstr("left as it is")));
}

// A recovery image on the ESP is no reason not to take up a role; an initramfs that nobody looked through is.
TEST_F(AssumeTest, AHugeFileIsPassedOverUnlessItBoots) {
    system.boot_files.add_huge("/recovery.wim", 600u << 20);
    EXPECT_THAT(plan(system, web_profile()).notes, Contains(HasSubstr("/boot/efi/recovery.wim")));
    system.boot_files.add_huge("/initrd.img-6.1", 600u << 20);
    const std::string message = refusal_of([&] { plan(system, web_profile()); });
    EXPECT_THAT(message, HasSubstr("/boot/efi/initrd.img-6.1 cannot be looked through"));
    EXPECT_THAT(message, HasSubstr("--leave-reference"));
}

TEST_F(AssumeTest, WhereNoIdentifierChangesNothingHasToBeSearched) {
    system.closed = {{"/boot", "partition 2 (xfs), which cannot be read here"}};
    Profile profile;
    profile.node = "web-1";
    profile.hostname.mode = Mode::kDerive;
    EXPECT_FALSE(plan(system, profile).empty());
}

TEST_F(AssumeTest, ASystemThatChangedSinceThePlanIsNotTouched) {
    const AssumePlan made = plan(system, web_profile());
    system.root_files.add("/etc/fstab", "other\n");
    const std::string before = system.picture();
    EXPECT_THAT(refusal_of([&] { apply_assume(made, kSecret, system); }),
                HasSubstr("/etc/fstab has changed"));
    EXPECT_EQ(system.picture(), before);
}

TEST_F(AssumeTest, AFullDiskIsRefusedBeforeAnythingIsWritten) {
    system.boot_files.room = 1000;
    const std::string before = system.picture();
    EXPECT_THAT(refusal_of([&] { assume(system); }), HasSubstr("/boot/efi"));
    EXPECT_EQ(system.picture(), before);
}

TEST_F(AssumeTest, AFileOfTheProfileMustNotNameAnIdentifierThatGoes) {
    Profile profile = web_profile();
    profile.files.push_back({"/etc/backup.conf", "target UUID=" + test::kGoldenRoot + "\n", 0644});
    EXPECT_THAT(refusal_of([&] { assume(system, profile); }), HasSubstr("/etc/backup.conf"));
}

TEST_F(AssumeTest, AKeptPartitionKeepsItsIdentifiersAndItsReferences) {
    SeededRandom random(1);
    AssumeOptions options;
    options.kept_partitions = {2};
    apply_assume(plan_assume(web_profile(), kSecret, system, random, options), kSecret, system);
    EXPECT_EQ(system.ids[1].value, test::kGoldenRoot);
    EXPECT_EQ(system.ids[3].value, test::kGoldenRootPart);
    EXPECT_NE(system.ids[2].value, test::kGoldenSwap);
    EXPECT_THAT(system.root_files.text("/etc/fstab"), HasSubstr("UUID=" + test::kGoldenRoot + " / "));
}

// A data partition that the copy left alone: its users know it by what it is called now.
TEST_F(AssumeTest, APartitionThatWasKeptOnceIsKeptByEveryLaterRun) {
    SeededRandom random(1);
    AssumeOptions options;
    options.kept_partitions = {2};
    const AssumePlan first = plan_assume(web_profile(), kSecret, system, random, options);
    EXPECT_THAT(first.notes,
                Contains(HasSubstr("new identifiers for partition 1 (vfat), partition 3 (swap);")));
    apply_assume(first, kSecret, system);
    EXPECT_TRUE(plan(system, web_profile()).empty());
}

TEST_F(AssumeTest, AKeptPartitionThatIsNotThereIsAMistakeAndNotIgnored) {
    SeededRandom random(1);
    AssumeOptions options;
    options.kept_partitions = {4};
    EXPECT_THAT(refusal_of([&] { plan_assume(web_profile(), kSecret, system, random, options); }),
                HasSubstr("--keep-partition 4"));
}

TEST_F(AssumeTest, AProfileThatAsksForNothingChangesNothing) {
    Profile profile;
    profile.node = "web-1";
    EXPECT_TRUE(plan(system, profile).empty());
}

TEST_F(AssumeTest, TheRandomSeedsAreFreshAndTheSourcesKeysAreGone) {
    assume(system);
    EXPECT_EQ(system.root_files.text("/var/lib/systemd/random-seed").find("ssss"), std::string::npos);
    EXPECT_EQ(system.root_files.text("/var/lib/systemd/random-seed").size(), 512u);
    EXPECT_EQ(system.boot_files.text("/loader/random-seed").find("ssss"), std::string::npos);
    EXPECT_THAT(system.root_files.list("/etc/ssh"),
                ElementsAre("ssh_host_ecdsa_key", "ssh_host_ecdsa_key.pub", "ssh_host_ed25519_key",
                            "ssh_host_ed25519_key.pub", "sshd_config"));
}

}  // namespace
}  // namespace dupengine::profiles
