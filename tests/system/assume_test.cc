// `dupengine assume` on real disks: GPT, FAT, swap and ext4 made by the field's own programs, looked at by
// them afterwards.

#include "tests/support/disk_image.h"
#include "tests/support/fake_system.h"
#include "tests/system/assume_disk.h"

namespace dupengine {
namespace {

using nlohmann::json;
using test::GoldenDisk;
using test::must_run;
using test::ScratchFolder;
using ::testing::HasSubstr;

TEST_F(AssumeDisk, EveryIdentifierIsNewAndEveryReferenceKnowsIt) {
    const GoldenDisk golden = make("disk.img");
    const std::string profile_guid = test::partition_guid(golden, 128);
    const json report = must_assume(golden.path);
    EXPECT_EQ(report.value("result", ""), "role taken up");
    EXPECT_EQ(report.value("node", ""), "web-1");
    expect_sound(golden);
    const std::string root = test::probed(golden.path, golden.root, "UUID"),
                      swap = test::probed(golden.path, golden.swap, "UUID");
    const std::string esp = test::probed(golden.path, golden.esp, "UUID");
    EXPECT_NE(root, test::kGoldenRoot);
    EXPECT_NE(swap, test::kGoldenSwap);
    EXPECT_NE(esp, test::kGoldenEsp);
    EXPECT_THAT(test::root_file(golden, "/etc/fstab"),
                testing::Eq(fmt::format("UUID={} / ext4 errors=remount-ro 0 1\nUUID={} /boot/efi vfat "
                                        "umask=0077 0 1\nUUID={} none swap sw 0 0\n",
                                        root, esp, swap)));
    EXPECT_EQ(test::root_file(golden, "/etc/hostname"), "web-1\n");
    EXPECT_EQ(test::root_file(golden, "/etc/kernel/cmdline"), "root=UUID=" + root + " ro\n");
    EXPECT_EQ(test::root_file(golden, "/etc/initramfs-tools/conf.d/resume"), "RESUME=UUID=" + swap + "\n");
    const std::string machine = test::root_file(golden, "/etc/machine-id").substr(0, 32);
    EXPECT_EQ(test::esp_file(golden, "/loader/entries/" + machine + "-6.1.conf"),
              fmt::format("title Debian\nmachine-id {0}\nlinux /{0}/6.1/linux\ninitrd "
                          "/{0}/6.1/initrd.img\noptions root=UUID={1} resume=UUID={2}\n",
                          machine, root, swap));
    EXPECT_NE(test::disk_guid(golden), test::kGoldenDisk);
    EXPECT_NE(test::partition_guid(golden, 3), test::kGoldenRootPart);
    EXPECT_EQ(test::partition_guid(golden, 128), profile_guid) << "the profile's own entry is never touched";
    const std::string initrd = test::esp_file(golden, "/" + machine + "/6.1/initrd.img");
    ASSERT_EQ(initrd.substr(0, golden.initrd.size()), golden.initrd);
    RunOptions tail;
    tail.input = initrd.substr(initrd.find("07070", golden.initrd.size()));
    EXPECT_EQ(must_run({"cpio", "--quiet", "-i", "--to-stdout", "conf/conf.d/zz-resume-auto"}, tail),
              "RESUME=UUID=" + swap + "\n");
    EXPECT_THAT(must_run({"debugfs", "-R", "stat /home/ops/.ssh/authorized_keys",
                          fmt::format("{}?offset={}", golden.path, golden.root.begin)}),
                HasSubstr("User:  1000   Group:  1001"));
}

TEST_F(AssumeDisk, TheProfilePartitionKeepsEveryByte) {
    const GoldenDisk golden = make("disk.img");
    const std::string text = must_run({"sgdisk", "-i", "128", golden.path});
    const auto value = [&](const std::string& key) {
        return std::stoull(text.substr(text.find(key) + key.size()));
    };
    const block::Extent profile{value("First sector: ") * 512, (value("Last sector: ") + 1) * 512};
    const std::string before = test::range_sha256(golden.path, profile);
    must_assume(golden.path);
    EXPECT_EQ(test::range_sha256(golden.path, profile), before);
    must_assume(golden.path, {"--yes", "--undo"});
    EXPECT_EQ(test::range_sha256(golden.path, profile), before);
}

TEST_F(AssumeDisk, ASecondRunAndAPlanWriteNotOneByte) {
    const GoldenDisk golden = make("disk.img");
    const std::string untouched = test::file_sha256(golden.path);
    const json plan = must_assume(golden.path, {"--plan"});
    EXPECT_EQ(plan.value("result", ""), "planned");
    EXPECT_GT(plan["changes"].size(), 15u);
    EXPECT_EQ(test::file_sha256(golden.path), untouched);
    must_assume(golden.path);
    const std::string taken_up = test::file_sha256(golden.path);
    EXPECT_EQ(must_assume(golden.path).value("result", ""), "nothing to change");
    EXPECT_EQ(test::file_sha256(golden.path), taken_up);
}

// The swap partition stands for data that copy --protect left where it was.
TEST_F(AssumeDisk, APartitionIsKeptByItsNumberLabelOrGuid) {
    const GoldenDisk golden = make("disk.img");
    must_run({"sgdisk", "-c", "2:data", golden.path});
    const std::string guid = test::partition_guid(golden, 2), before = test::file_sha256(golden.path);
    for (const char* wrong : {"9", "PARTLABEL=date", "PARTUUID=data"}) {
        const RunResult refused = assume(golden.path, {"--yes", "--keep-partition", wrong});
        EXPECT_EQ(refused.status, 3);
        EXPECT_THAT(refused.err, HasSubstr(fmt::format("'{}' names no partition", wrong)));
    }
    for (const std::string& name :
         {std::string("2"), std::string("data"), std::string("PARTLABEL=data"), "PARTUUID=" + guid, guid}) {
        const json planned = must_assume(golden.path, {"--plan", "--keep-partition", name});
        EXPECT_THAT(planned["changes"].dump(), Not(HasSubstr(test::kGoldenSwap))) << name;
        EXPECT_THAT(planned["notes"].dump(), HasSubstr("new identifiers for partition 1 (vfat)"));
    }
    EXPECT_EQ(test::file_sha256(golden.path), before);
    must_assume(golden.path, {"--yes", "--keep-partition", "data"});
    EXPECT_EQ(test::probed(golden.path, golden.swap, "UUID"), test::kGoldenSwap);
    EXPECT_EQ(test::partition_guid(golden, 2), guid);
    EXPECT_EQ(must_assume(golden.path).value("result", ""), "nothing to change");
}

TEST_F(AssumeDisk, UndoBringsBackEveryFileAndIdentifier) {
    const GoldenDisk golden = make("disk.img");
    const std::string before = picture(golden);
    must_assume(golden.path);
    EXPECT_NE(picture(golden), before);
    const json undone = must_assume(golden.path, {"--yes", "--undo"});
    EXPECT_EQ(undone.value("result", ""), "undone");
    EXPECT_EQ(undone.value("node", ""), "web-1");
    EXPECT_EQ(picture(golden), before);
    expect_sound(golden);
}

TEST_F(AssumeDisk, DisksWithSectorsOf4096BytesWorkToo) {
    test::GoldenRecipe recipe;
    recipe.sector_bytes = 4096;
    recipe.size_bytes = 700 << 20;
    const GoldenDisk golden = test::make_golden_disk(folder, "disk4k.img", recipe);
    write_file_atomic(folder.file("profile.toml"), as_bytes(kProfile), 0644, Code::kInternal);
    ASSERT_EQ(test::run_dupengine({"profile", "init", "--store", "file:" + folder.file("store"), "--from",
                                   folder.file("profile.toml")})
                  .status,
              0);
    const test::LoopDevice loop(golden.path, {.sector_bytes = 4096});
    must_assume(loop.path(), {"--yes", "--store", "file:" + folder.file("store")});
    EXPECT_NE(test::probed(golden.path, golden.root, "UUID"), test::kGoldenRoot);
    EXPECT_NE(test::probed(golden.path, golden.esp, "UUID"), test::kGoldenEsp);
    EXPECT_THAT(must_run({"sgdisk", "-v", loop.path()}), HasSubstr("No problems found"));
    EXPECT_EQ(
        must_assume(loop.path(), {"--yes", "--store", "file:" + folder.file("store")}).value("result", ""),
        "nothing to change");
}

TEST_F(AssumeDisk, WithoutAProfileThereIsNoRole) {
    const GoldenDisk golden = test::make_golden_disk(folder, "disk.img");
    const std::string before = test::file_sha256(golden.path);
    const RunResult result = assume(golden.path);
    EXPECT_EQ(result.status, 3) << result.err;
    EXPECT_EQ(test::file_sha256(golden.path), before);
}

TEST_F(AssumeDisk, ADiskInUseOrWithAReferenceThatCannotBeRewrittenStaysAsItIs) {
    const GoldenDisk golden = make("disk.img");
    const std::string before = test::file_sha256(golden.path);
    {
        const test::LoopDevice loop(golden.path);
        EXPECT_EQ(assume(golden.path).status, 3);
    }
    write_file_atomic(folder.file("core.efi"), as_bytes(std::string("MZ\0", 3) + test::kGoldenRoot), 0644,
                      Code::kInternal);
    must_run({"mcopy", "-i", fmt::format("{}@@{}", golden.path, golden.esp.begin), folder.file("core.efi"),
              "::/EFI/BOOT/CORE.EFI"});
    const std::string with_core = test::file_sha256(golden.path);
    const RunResult refused = assume(golden.path);
    EXPECT_EQ(refused.status, 3);
    EXPECT_THAT(refused.err, HasSubstr("/boot/efi/EFI/BOOT/CORE.EFI"));
    EXPECT_EQ(test::file_sha256(golden.path), with_core);
    EXPECT_NE(before, with_core);
    must_assume(golden.path, {"--yes", "--leave-reference", "/boot/efi/EFI/BOOT/CORE.EFI"});
}

// Puts a file of this machine into the root of the disk.
void replace_in_root(const GoldenDisk& golden, const std::string& source, const std::string& path) {
    const test::LoopDevice loop(golden.path,
                                {.offset_bytes = golden.root.begin, .size_bytes = golden.root.size()});
    must_run({"debugfs", "-w", "-R", "rm " + path, loop.path()});
    must_run({"debugfs", "-w", "-R", "write " + source + " " + path, loop.path()});
}

// What boots may refer to the root's UUID; where it cannot be read, that machine may not boot again.
TEST_F(AssumeDisk, WhatBootsFromAFileSystemThatCannotBeReadStopsTheRun) {
    const GoldenDisk golden = make("disk.img");
    // The same disk, larger, with a partition 4.
    GoldenDisk disk = golden;
    disk.path = folder.file("larger.img");
    must_run({"cp", "--sparse=always", golden.path, disk.path});
    must_run({"truncate", "-s", "501M", disk.path});
    must_run({"sgdisk", "-e", "-n", "4:200M:+300M", "-c", "4:boot", disk.path});
    const std::string btrfs = folder.sparse_file("btrfs.img", 300 << 20);
    must_run({"mkfs.btrfs", "-q", btrfs});
    must_run(
        {"dd", "if=" + btrfs, "of=" + disk.path, "bs=1M", "seek=200", "conv=notrunc,sparse", "status=none"});
    write_file_atomic(
        folder.file("fstab"),
        as_bytes(fmt::format("/dev/vda3 / ext4 defaults 0 1\n/dev/vda4 /boot btrfs defaults 0 1\n"
                             "UUID={} none swap sw 0 0\n",
                             test::kGoldenSwap)),
        0644, Code::kInternal);
    replace_in_root(disk, folder.file("fstab"), "/etc/fstab");
    const std::string before = test::file_sha256(disk.path);
    for (const char* how : {"--yes", "--plan"}) {
        const RunResult refused = assume(disk.path, {how});
        EXPECT_EQ(refused.status, 3) << refused.err;
        EXPECT_THAT(refused.err, HasSubstr("/boot is partition 4 (btrfs)"));
        EXPECT_THAT(refused.err, HasSubstr("--leave-reference"));
    }
    EXPECT_EQ(test::file_sha256(disk.path), before);
    EXPECT_THAT(must_assume(disk.path, {"--yes", "--leave-reference", "/boot"})["notes"].dump(),
                HasSubstr("/boot is partition 4"));
    EXPECT_EQ(must_assume(disk.path, {"--yes", "--leave-reference", "/boot"}).value("result", ""),
              "nothing to change");
}

TEST_F(AssumeDisk, AnEfiSystemPartitionThatCannotBeReadStopsTheRun) {
    const GoldenDisk golden = make("disk.img");
    // The first FAT and its copy say that the root folder has no end; the boot sector stays good.
    must_run({"dd", "if=/dev/zero", "of=" + golden.path, "bs=512",
              fmt::format("seek={}", golden.esp.begin / 512), "count=1000", "oflag=sync", "conv=notrunc",
              "status=none"});
    const std::string before = test::file_sha256(golden.path);
    const RunResult refused = assume(golden.path);
    EXPECT_EQ(refused.status, 3) << refused.err;
    EXPECT_THAT(refused.err, HasSubstr("/boot/efi is UUID=C0DE-0001, which is not on this disk"));
    EXPECT_EQ(test::file_sha256(golden.path), before);
}

// A copy of a system that was running: its journal has not been replayed. Looking leaves it so, taking up the
// role does not.
TEST_F(AssumeDisk, AnUnplayedJournalIsReplayedBeforeTheRoleIsTakenUp) {
    const GoldenDisk golden = make("disk.img");
    const std::string mounted = folder.file("mounted"), copy = folder.file("copy.img");
    std::filesystem::create_directory(mounted);
    {
        const test::LoopDevice loop(golden.path,
                                    {.offset_bytes = golden.root.begin, .size_bytes = golden.root.size()});
        must_run({"mount", "-t", "ext4", loop.path(), mounted});
        write_file_atomic(mounted + "/etc/only-in-the-journal", as_bytes("here\n"), 0644, Code::kInternal);
        must_run({"cp", "--sparse=always", golden.path, copy});
        must_run({"umount", mounted});
    }
    const std::string before = test::file_sha256(copy);
    const json plan = must_assume(copy, {"--plan"});
    EXPECT_THAT(plan["notes"].dump(), HasSubstr("has not been replayed"));
    // Neither before the answer, nor for a profile that is refused afterwards.
    const RunResult unanswered = assume(copy, {});
    EXPECT_EQ(unanswered.status, 3);
    EXPECT_THAT(unanswered.err, HasSubstr("the journal of partition 3 has to be replayed"));
    write_file_atomic(folder.file("bad.toml"),
                      as_bytes("schema = 1\nkind = \"node\"\nnode = \"web-1\"\nroles = [\"nowhere\"]\n"),
                      0644, Code::kInternal);
    const std::string bad = "file:" + folder.file("bad-store");
    const RunResult init =
        test::run_dupengine({"profile", "init", "--store", bad, "--from", folder.file("bad.toml")});
    ASSERT_EQ(init.status, 0) << init.err;
    const RunResult refused = assume(copy, {"--yes", "--store", bad});
    EXPECT_EQ(refused.status, 3);
    EXPECT_THAT(refused.err, HasSubstr("nowhere"));
    EXPECT_EQ(test::file_sha256(copy), before);
    EXPECT_THAT(must_assume(copy)["notes"].dump(), HasSubstr("journal replayed"));
    GoldenDisk taken = golden;
    taken.path = copy;
    expect_sound(taken);
    EXPECT_EQ(test::root_file(taken, "/etc/only-in-the-journal"), "here\n");
    EXPECT_EQ(test::root_file(taken, "/etc/hostname"), "web-1\n");
}

TEST_F(AssumeDisk, AnMbrDiskGetsANewSignatureAndItsPartuuidsFollow) {
    const std::string disk = folder.sparse_file("mbr.img", 64 << 20),
                      root = folder.sparse_file("root.img", 60 << 20);
    RunOptions table;
    table.input = "label: dos\nlabel-id: 0xdeadbeef\nstart=2048, size=122880, type=83, bootable\n";
    must_run({"sfdisk", "-q", disk}, table);
    std::filesystem::create_directories(folder.path() + "/tree/etc");
    write_file_atomic(folder.file("tree/etc/hostname"), as_bytes("golden\n"), 0644, Code::kInternal);
    write_file_atomic(folder.file("tree/etc/fstab"), as_bytes("PARTUUID=deadbeef-01 / ext4 defaults 0 1\n"),
                      0644, Code::kInternal);
    must_run({"mke2fs", "-q", "-t", "ext4", "-d", folder.file("tree"), root});
    must_run({"dd", "if=" + root, "of=" + disk, "bs=1M", "seek=1", "conv=notrunc,sparse", "status=none"});
    write_file_atomic(folder.file("p.toml"),
                      as_bytes("schema = 1\nkind = \"node\"\nnode = \"web-1\"\n[storage]\ndisk_guid = { mode "
                               "= \"set\", value = \"0badcafe\" }\n"),
                      0644, Code::kInternal);
    const std::string store = "file:" + folder.file("store");
    ASSERT_EQ(
        test::run_dupengine({"profile", "init", "--store", store, "--from", folder.file("p.toml")}).status,
        0);
    must_assume(disk, {"--yes", "--store", store});
    const std::string text = must_run({"sfdisk", "-d", disk});
    EXPECT_THAT(text, HasSubstr("label-id: 0x0badcafe"));
    EXPECT_THAT(text, HasSubstr("start=        2048, size=      122880, type=83, bootable"));
    GoldenDisk golden{disk, {}, {}, {1 << 20, 61 << 20}, {}, {}};
    EXPECT_EQ(test::root_file(golden, "/etc/fstab"), "PARTUUID=0badcafe-01 / ext4 defaults 0 1\n");
    EXPECT_EQ(must_assume(disk, {"--yes", "--store", store}).value("result", ""), "nothing to change");
    must_assume(disk, {"--yes", "--undo", "--store", store});
    EXPECT_THAT(must_run({"sfdisk", "-d", disk}), HasSubstr("label-id: 0xdeadbeef"));
}

TEST_F(AssumeDisk, ADamagedFileSystemStopsItWithOneLine) {
    const GoldenDisk golden = make("disk.img");
    // Bitmaps and inode tables of the first group, overwritten; the superblock says all is well.
    must_run({"dd", "if=/dev/urandom", "of=" + golden.path, "bs=4096",
              fmt::format("seek={}", golden.root.begin / 4096 + 2), "count=60", "conv=notrunc",
              "status=none"});
    const RunResult result = assume(golden.path);
    EXPECT_THAT(result.status, testing::AnyOf(3, 6)) << result.err;
    EXPECT_EQ(std::count(result.err.begin(), result.err.end(), '\n'), 1) << result.err;
}

TEST(AssumeFolder, AMountedTreeIsChangedButForTheIdentifiersOfItsDisk) {
    const ScratchFolder folder;
    std::filesystem::create_directories(folder.path() + "/root/etc");
    write_file_atomic(folder.file("root/etc/hostname"), as_bytes("golden\n"), 0644, Code::kInternal);
    write_file_atomic(folder.file("root/etc/machine-id"), as_bytes(test::kGoldenMachine + "\n"), 0444,
                      Code::kInternal);
    write_file_atomic(folder.file("p.toml"),
                      as_bytes("schema = 1\nkind = \"node\"\nnode = \"web-1\"\n[identity]\nmachine_id = { "
                               "mode = \"derive\" }\n[storage]\nfs_uuid = { mode = \"derive\" }\n"),
                      0644, Code::kInternal);
    const std::string store = "file:" + folder.file("store");
    ASSERT_EQ(
        test::run_dupengine({"profile", "init", "--store", store, "--from", folder.file("p.toml")}).status,
        0);
    const std::vector<std::string> argv = {"assume",  "--json", "--yes", "--root", folder.file("root"),
                                           "--store", store};
    const RunResult first = test::run_dupengine(argv);
    ASSERT_EQ(first.status, 0) << first.err;
    EXPECT_THAT(first.out, HasSubstr("needs --disk"));
    EXPECT_EQ(read_file(folder.file("root/etc/hostname"), Code::kInternal), "web-1\n");
    EXPECT_EQ(json::parse(test::run_dupengine(argv).out).value("result", ""), "nothing to change");
    std::vector<std::string> undo = argv;
    undo.emplace_back("--undo");
    EXPECT_EQ(test::run_dupengine(undo).status, 0);
    EXPECT_EQ(read_file(folder.file("root/etc/hostname"), Code::kInternal), "golden\n");
    EXPECT_FALSE(std::filesystem::exists(folder.file("root/var")));
    EXPECT_EQ(test::run_dupengine({"assume", "--root", folder.file("root")}).status, 2);
}

// What is mounted below the folder is a disk of its own, and may be full before the rest is.
TEST(AssumeFolder, RoomIsLookedForWhereTheFileWillBe) {
    const ScratchFolder folder;
    const std::string root = folder.file("root"), store = "file:" + folder.file("store");
    std::filesystem::create_directories(root + "/etc");
    std::filesystem::create_directories(root + "/boot");
    write_file_atomic(root + "/etc/hostname", as_bytes("golden\n"), 0644, Code::kInternal);
    write_file_atomic(
        folder.file("p.toml"),
        as_bytes("schema = 1\nkind = \"node\"\nnode = \"web-1\"\n[[file]]\npath = \"/boot/big\"\n"
                 "content = \"" +
                 std::string(300'000, 'x') + "\"\n"),
        0644, Code::kInternal);
    const RunResult init =
        test::run_dupengine({"profile", "init", "--store", store, "--from", folder.file("p.toml")});
    ASSERT_EQ(init.status, 0) << init.err;
    must_run({"mount", "-t", "tmpfs", "-o", "size=256k", "none", root + "/boot"});
    const RunResult refused = test::run_dupengine({"assume", "--yes", "--root", root, "--store", store});
    must_run({"umount", root + "/boot"});
    EXPECT_EQ(refused.status, 3) << refused.err;
    EXPECT_THAT(refused.err, HasSubstr("the file system at /boot has"));
    EXPECT_EQ(read_file(root + "/etc/hostname", Code::kInternal), "golden\n");
    EXPECT_FALSE(std::filesystem::exists(root + "/var"));
}

}  // namespace
}  // namespace dupengine
