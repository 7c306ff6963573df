#include <fcntl.h>
#include <gmock/gmock.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <filesystem>

#include "base/error.h"
#include "base/fd.h"
#include "profiles/system/combined_tree.h"
#include "profiles/system/dir_tree.h"
#include "profiles/system/fat_tree.h"
#include "profiles/system/file_system_table.h"
#include "profiles/system/folder_system.h"
#include "profiles/system/staged.h"
#include "tests/support/fake_system.h"
#include "tests/support/scratch.h"

namespace dupengine::profiles {
namespace {

using test::MemoryTree;
using test::must_run;
using test::PowerCut;
using test::ScratchFolder;
using ::testing::ElementsAre;

// A copied system in a folder, with things outside of it that nothing inside may reach.
class DirTreeTest : public ::testing::Test {
  protected:
    DirTreeTest() {
        std::filesystem::create_directories(root + "/etc");
        write(root + "/etc/hostname", "golden\n");
        write(folder.file("outside"), "keep me\n");
    }
    static void write(const std::string& path, const std::string& text) {
        write_file_atomic(path, as_bytes(text), 0644, Code::kInternal);
    }
    ScratchFolder folder;
    std::string root = folder.path() + "/root";
};

TEST_F(DirTreeTest, NoSymlinkLeadsOutOfTheCopy) {
    std::filesystem::create_symlink(folder.file("outside"), root + "/etc/absolute");
    std::filesystem::create_symlink("../../outside", root + "/etc/relative");
    std::filesystem::create_directory_symlink(folder.path(), root + "/etc/folder");
    std::filesystem::create_directory_symlink("../../../../../../..", root + "/up");
    DirTree tree = DirTree::open(root);
    for (const char* path : {"/etc/absolute", "/etc/relative", "/etc/folder/outside", "/up/outside"}) {
        EXPECT_NE(read_text(tree, path), "keep me\n") << path;
        Staged staged(tree);
        staged.change("test", path, Node::file("changed\n", 0644), "", "");
        for (const PutAction& put : staged.puts())
            tree.put(put.path, put.after);
        EXPECT_EQ(read_text(tree, path), "changed\n") << path;
    }
    EXPECT_EQ(read_file(folder.file("outside"), Code::kInternal), "keep me\n");
}

TEST_F(DirTreeTest, PathsWithDotsAreRefused) {
    DirTree tree = DirTree::open(root);
    for (const char* path : {"/etc/../../outside", "etc/hostname", "/etc//hostname", "/etc/./hostname", ""})
        EXPECT_THROW(tree.look(path), Error) << path;
}

TEST_F(DirTreeTest, LinksInACircleEndInAnError) {
    std::filesystem::create_symlink("b", root + "/a");
    std::filesystem::create_symlink("a", root + "/b");
    EXPECT_THROW(resolve(DirTree::open(root), "/a"), Error);
}

TEST_F(DirTreeTest, AReplacedFileKeepsWhatItsNodeSays) {
    DirTree tree = DirTree::open(root);
    Node node = tree.take("/etc/hostname").with_content("new\n");
    node.mode = 0640;
    node.extended_attributes["user.note"] = "kept";
    tree.put("/etc/hostname", node);
    EXPECT_TRUE(tree.take("/etc/hostname").same_as(node));
    char value[16] = {};
    EXPECT_EQ(::getxattr((root + "/etc/hostname").c_str(), "user.note", value, sizeof value), 4);
    EXPECT_THAT(tree.list("/etc"), ElementsAre("hostname"));
}

// A default ACL on /etc/ssh would make every run write the keys again.
TEST_F(DirTreeTest, ANewFileInheritsNothingFromItsFolder) {
    // acl_ea_header and entries (linux/posix_acl_xattr.h): user::rwx, user 1000:rwx, group::r-x, mask::rwx,
    // other::r-x.
    const unsigned char acl[] = {2,    0,    0,    0,    1,    0, 7, 0, 0xff, 0xff, 0xff, 0xff, 2,    0, 7, 0,
                                 0xe8, 3,    0,    0,    4,    0, 5, 0, 0xff, 0xff, 0xff, 0xff, 0x10, 0, 7, 0,
                                 0xff, 0xff, 0xff, 0xff, 0x20, 0, 5, 0, 0xff, 0xff, 0xff, 0xff};
    const std::string path = folder.path() + "/with-acl";
    std::filesystem::create_directory(path);
    if (::setxattr(path.c_str(), "system.posix_acl_default", acl, sizeof acl, 0) != 0)
        GTEST_SKIP() << "no ACLs on " << folder.path();
    DirTree tree = DirTree::open(folder.path());
    const Node node = Node::file("key", 0600);
    tree.put("/with-acl/key", node);
    EXPECT_TRUE(tree.take("/with-acl/key").same_as(node));
}

TEST_F(DirTreeTest, WhatACutLeftBehindIsSweptAway) {
    write(root + "/etc/.dupengine-assume.tmp", "half");
    DirTree tree = DirTree::open(root);
    tree.sweep("/etc");
    EXPECT_THAT(tree.list("/etc"), ElementsAre("hostname"));
}

TEST_F(DirTreeTest, SpecialFilesAreSeenButNeverReadOrMade) {
    ASSERT_EQ(::mkfifo((root + "/etc/pipe").c_str(), 0600), 0);
    DirTree tree = DirTree::open(root);
    EXPECT_EQ(tree.take("/etc/pipe").kind, NodeKind::kOther);
    Staged staged(tree);
    EXPECT_THROW(staged.change("test", "/etc/pipe", Node::file("x", 0644), "", ""), Error);
}

TEST_F(DirTreeTest, OfAMountedFatANodeIsWhatMtoolsSee) {
    // A mount shows what its options say; here it is a folder of another file system.
    DirTree fat(open_path(root, O_RDONLY | O_DIRECTORY, Code::kInternal), root, DirTree::Keeps::kContent);
    std::filesystem::permissions(root + "/etc/hostname", std::filesystem::perms{0600});
    EXPECT_EQ(fat.look("/etc/hostname").mode, 0755u);
    EXPECT_FALSE(fat.renames_whole("/etc/hostname"));
    EXPECT_THROW(fat.as_stored("/etc/link", Node::link("hostname")), Error);
    const Node wanted = fat.as_stored("/etc/new", Node::file("text\n", 0600, 7, 7));
    fat.put("/etc/new", wanted);
    EXPECT_TRUE(fat.take("/etc/new").same_as(wanted));
    fat.put("/etc/folder", fat.as_stored("/etc/folder", Node::folder(0700)));
    EXPECT_TRUE(fat.take("/etc/folder").same_as(fat.as_stored("/etc/folder", Node::folder(0700))));
    struct stat st {};
    ASSERT_EQ(::stat((root + "/etc/new").c_str(), &st), 0);
    EXPECT_EQ(st.st_uid, 0u) << "an owner was set, which a mounted FAT refuses";
}

TEST(FolderSystem, TheRunningSystemIsNoCopy) {
    EXPECT_THROW(FolderSystem("/"), Error);
}

class FatTreeTest : public ::testing::Test {
  protected:
    FatTreeTest() {
        must_run({"mkfs.fat", "-F", "32", "-i", "1234abcd", image});
        must_run({"mmd", "-i", image, "::/EFI", "::/EFI/BOOT", "::/loader",
                  "::/0123456789abcdef0123456789abcdef"});
    }
    ScratchFolder folder;
    std::string image = folder.sparse_file("esp.img", 48 << 20);
};

TEST_F(FatTreeTest, FilesComeBackAsTheyWerePut) {
    FatTree tree(image, "esp");
    std::string content;
    for (unsigned i = 0; i < 300'000; ++i)
        content += static_cast<char>(i * 7);
    tree.put("/EFI/BOOT/BOOTX64.EFI", Node::file(content, 0755));
    tree.put("/EFI/BOOT/BOOTX64.EFI", Node::file(content + "more", 0755));
    const FatTree again(image, "esp");
    EXPECT_EQ(*again.take("/efi/boot/bootx64.efi").content, content + "more");
    EXPECT_THAT(again.list("/EFI/BOOT"), ElementsAre("BOOTX64.EFI"));
    EXPECT_EQ(again.look("/nothing").kind, NodeKind::kAbsent);
    EXPECT_EQ(run_program({"fsck.fat", "-n", image}).status, 0);
}

TEST_F(FatTreeTest, WhatACutOnAMountedOneLeftBehindIsSweptAway) {
    FatTree tree(image, "esp");
    tree.put(join("/loader", kTemporaryName), Node::file("half", 0755));
    tree.put("/loader/entry.conf", Node::file("title\n", 0755));
    tree.sweep("/loader");
    tree.sweep("/EFI");
    EXPECT_THAT(FatTree(image, "esp").list("/loader"), ElementsAre("entry.conf"));
    EXPECT_EQ(run_program({"fsck.fat", "-n", image}).status, 0);
}

TEST_F(FatTreeTest, AFolderIsRenamedWithWhatIsInIt) {
    FatTree tree(image, "esp");
    tree.put("/0123456789abcdef0123456789abcdef/linux", Node::file("kernel", 0755));
    tree.rename("/0123456789abcdef0123456789abcdef", "/fedcba9876543210fedcba9876543210");
    const FatTree again(image, "esp");
    EXPECT_EQ(*again.take("/fedcba9876543210fedcba9876543210/linux").content, "kernel");
    EXPECT_FALSE(again.look("/0123456789abcdef0123456789abcdef").exists());
    EXPECT_EQ(run_program({"fsck.fat", "-n", image}).status, 0);
}

TEST_F(FatTreeTest, NamesKeepTheirSpellingAndRoomIsReal) {
    FatTree tree(image, "esp");
    const std::uint64_t empty = tree.free_bytes("/");
    EXPECT_GT(empty, 40u << 20);
    for (const char* content : {"first", "second"})
        tree.put("/loader/initrd.img", Node::file(content, 0755));
    EXPECT_THAT(FatTree(image, "esp").list("/loader"), ElementsAre("initrd.img"));
    tree.put("/loader/initrd.img", Node::file(std::string(1 << 20, 'x'), 0755));
    EXPECT_LE(tree.free_bytes("/"), empty - (1 << 20));
    tree.put("/loader/initrd.img", {});
    EXPECT_EQ(tree.free_bytes("/"), empty);
    tree.put("/EFI/BOOT", {});
    EXPECT_FALSE(FatTree(image, "esp").look("/EFI/BOOT").exists());
    EXPECT_THROW(tree.as_stored("/x", Node::link("y")), Error);
    EXPECT_THROW(tree.put("/a*", Node::file("x", 0755)), Error);
    EXPECT_TRUE(FatTree::is_in_order(image));
}

TEST_F(FatTreeTest, AnEmptyOneIsEmptyAndNotBroken) {
    const std::string empty = folder.sparse_file("empty.img", 48 << 20);
    must_run({"mkfs.fat", "-F", "32", empty});
    FatTree tree(empty, "empty");
    EXPECT_THAT(tree.list("/"), ElementsAre());
    tree.put("/x", Node::file("text", 0755));
    EXPECT_THAT(FatTree(empty, "empty").list("/"), ElementsAre("x"));
}

TEST_F(FatTreeTest, OddNamesAreReadReplacedAndRemoved) {
    FatTree tree(image, "esp");
    const std::vector<std::string> names = {
        "/Gr\xc3\xb6\xc3\x9f"
        "e \xe2\x82\xac.conf",
        "/a[1].txt", "/b {x}~1 #%&'.conf"};
    for (const std::string& name : names)
        for (const char* content : {"first", "second"})
            tree.put(name, Node::file(content, 0755));
    FatTree again(image, "esp");
    for (const std::string& name : names) {
        EXPECT_EQ(*again.take(name).content, "second") << name;
        EXPECT_EQ(again.look(name).size_bytes % 512, 0u);
        EXPECT_GT(again.look(name).size_bytes, 0u);
    }
    again.rename("/a[1].txt", "/a[2].txt");
    for (const std::string& name : {names[0], std::string("/a[2].txt"), names[2]})
        again.put(name, {});
    EXPECT_THAT(FatTree(image, "esp").list("/"),
                ElementsAre("0123456789abcdef0123456789abcdef", "EFI", "loader"));
    EXPECT_TRUE(FatTree::is_in_order(image));
}

TEST_F(FatTreeTest, WhatIsNoFatIsRefused) {
    EXPECT_THROW(FatTree(folder.sparse_file("zero.img", 1 << 20), "zero"), Error);
}

TEST(CombinedTree, EachPathBelongsToTheDeepestMountPoint) {
    PowerCut power;
    MemoryTree root(power), boot(power), esp(power, true);
    root.add("/boot/hidden", "x");
    boot.add("/vmlinuz", "kernel");
    esp.add("/EFI/x.efi", "program");
    CombinedTree tree(root);
    tree.mount("/boot", boot);
    tree.mount("/boot/efi", esp);
    EXPECT_THAT(tree.list("/boot"), ElementsAre("efi", "vmlinuz"));
    EXPECT_EQ(read_text(tree, "/boot/efi/EFI/x.efi"), "program");
    EXPECT_EQ(tree.mount_point_of("/boot/efix"), "/boot");
    EXPECT_THROW(tree.rename("/boot/vmlinuz", "/vmlinuz"), Error);
}

TEST(Staged, RenamedFoldersAreSeenUnderTheirNewNames) {
    PowerCut power;
    MemoryTree base(power);
    base.add("/old/inner-old/file", "x");
    Staged staged(base);
    staged.rename("/old", "/new");
    staged.rename("/new/inner-old", "/new/inner-new");
    EXPECT_THAT(staged.list("/"), ElementsAre("new"));
    EXPECT_THAT(staged.list("/new"), ElementsAre("inner-new"));
    EXPECT_EQ(read_text(staged, "/new/inner-new/file"), "x");
    EXPECT_FALSE(staged.look("/old").exists());
    EXPECT_FALSE(staged.look("/new/inner-old/file").exists());
    staged.put("/new/inner-new/file", Node::file("y", 0644));
    EXPECT_EQ(read_text(staged, "/new/inner-new/file"), "y");
    EXPECT_THROW(staged.rename("/new", "/newer"), Error);
}

layout::DiskDescription described() {
    layout::DiskDescription description;
    description.table.kind = layout::TableKind::kGpt;
    const auto add = [&](unsigned number, const char* type, const char* uuid, const char* label,
                         const char* name) {
        layout::PartitionDescription part;
        part.partition.number = number;
        part.partition.name = name;
        part.partition.guid = Guid::parse(fmt::format("00000000-0000-4000-8000-{:012d}", number));
        part.signature = layout::Signature{type, "filesystem", uuid, label, ""};
        description.partitions.push_back(part);
    };
    add(1, "vfat", "C0DE-1234", "", "esp");
    add(2, "ext4", test::kGoldenRoot.c_str(), "root", "system");
    add(3, "ext4", test::kGoldenSwap.c_str(), "data", "my data");
    return description;
}

std::vector<PartitionId> meant(const std::string& device, const std::string& root_device = "",
                               const layout::DiskDescription& disk = described()) {
    const std::vector<const layout::DiskDescription*> disks = {&disk};
    return partitions_meant(device, root_device, disks);
}

TEST(FileSystemTable, EverySpellingOfADeviceIsUnderstood) {
    const std::string fstab =
        "# UUID=c0de-1234 /nowhere\nUUID=c0de-1234\t/boot/efi/ vfat x 0 1\nLABEL=\"root\" / ext4\n"
        "PARTLABEL=my\\040data /srv\\040x ext4\nUUID=c0de-1234 none swap\nLABEL=\n";
    EXPECT_THAT(parse_fstab(fstab),
                ElementsAre(MountLine{"UUID=c0de-1234", "/boot/efi"}, MountLine{"LABEL=\"root\"", "/"},
                            MountLine{"PARTLABEL=my data", "/srv x"}));
    EXPECT_THAT(meant("UUID=c0de-1234"), ElementsAre(1));
    EXPECT_THAT(meant("/dev/disk/by-partuuid/00000000-0000-4000-8000-000000000003"), ElementsAre(3));
    EXPECT_THAT(meant("LABEL=\"root\""), ElementsAre(2));
    EXPECT_THAT(meant("/dev/disk/by-partlabel/my\\x20data"), ElementsAre(3));
    EXPECT_THAT(meant("LABEL="), ElementsAre());
    EXPECT_THAT(meant("/dev/mapper/vg-boot"), ElementsAre());
}

TEST(FileSystemTable, ANameOfTheKernelIsAPartitionOfThisDisk) {
    for (const char* device : {"/dev/sda2", "/dev/vda2", "/dev/nvme0n1p2", "/dev/mmcblk0p2",
                               "/dev/disk/by-id/ata-Some_Disk-part2"})
        EXPECT_THAT(meant(device), ElementsAre(2)) << device;
    for (const char* device : {"/dev/sda9", "/dev/sda", "/dev/nvme0n1", "/dev/sr0", "/dev/md2", "/dev/dm-2"})
        EXPECT_THAT(meant(device), ElementsAre()) << device;
    EXPECT_THAT(meant("/dev/sda1", "/dev/sda2"), ElementsAre(1));
    EXPECT_THAT(meant("/dev/sdb1", "/dev/sda2"), ElementsAre());
    EXPECT_THAT(meant("/dev/sdb1", "UUID=x"), ElementsAre(1));
}

TEST(FileSystemTable, ALabelThatTwoPartitionsHaveIsNotGuessedAt) {
    layout::DiskDescription description = described();
    description.partitions[2].signature->label = "root";
    EXPECT_THAT(meant("LABEL=root", "", description), ElementsAre(2, 3));
}

// Of two disks, the first has the root.
TEST(FileSystemTable, OnSeveralDisksANameOfTheKernelIsOnlyBelievedWhereItIsOne) {
    const layout::DiskDescription first = described();
    layout::DiskDescription second = described();
    second.partitions.resize(1);
    second.partitions[0].signature->uuid = "BEEF-0001";
    second.partitions[0].partition.guid = Guid::parse("99999999-0000-4000-8000-000000000001");
    const std::vector<const layout::DiskDescription*> disks = {&first, &second};
    const auto on_both = [&](const std::string& device, const std::string& root_device) {
        return partitions_meant(device, root_device, disks);
    };
    const PartitionId second_1{1, 1};
    EXPECT_THAT(on_both("UUID=beef-0001", ""), ElementsAre(second_1));
    EXPECT_THAT(on_both("PARTUUID=99999999-0000-4000-8000-000000000001", ""), ElementsAre(second_1));
    EXPECT_THAT(on_both("LABEL=root", ""), ElementsAre(PartitionId(2)));
    EXPECT_THAT(on_both("/dev/sda1", "/dev/sda2"), ElementsAre(PartitionId(1)));
    EXPECT_THAT(on_both("/dev/sdb1", "/dev/sda2"), ElementsAre(second_1));
    EXPECT_THAT(on_both("/dev/sdb2", "/dev/sda2"), ElementsAre());
    EXPECT_THAT(on_both("/dev/sda1", "UUID=x"), ElementsAre(PartitionId(1), second_1));
    EXPECT_THAT(on_both("/dev/disk/by-id/ata-A-part1", "/dev/disk/by-id/ata-B-part2"),
                ElementsAre(PartitionId(1), second_1));
}

TEST(FileSystemTable, MountUnitsCountAsMuchAsFstab) {
    test::PowerCut power;
    test::MemoryTree tree(power);
    tree.add(
        "/etc/systemd/system/boot.mount",
        "[Unit]\nWhat=no\n[Mount]\n Type=ext4\nWhat = /dev/disk/by-partlabel/my\\x20data\nWhere=/boot\n");
    tree.add("/etc/systemd/system/half.mount", "[Mount]\nWhere=/half\n");
    tree.add("/etc/systemd/system/web.service", "[Mount]\nWhat=/dev/sda1\nWhere=/x\n");
    EXPECT_THAT(mount_units(tree), ElementsAre(MountLine{"/dev/disk/by-partlabel/my data", "/boot"}));
}

TEST(FileSystemTable, AnMbrPartuuidIsTheSignatureAndTheNumber) {
    layout::DiskDescription description = described();
    description.table.kind = layout::TableKind::kMbr;
    description.table.mbr_signature = 0xdeadbeef;
    EXPECT_THAT(meant("PARTUUID=DEADBEEF-03", "", description), ElementsAre(3));
}

}  // namespace
}  // namespace dupengine::profiles
