// Who uses a disk, on machines that are made up of files: what sysfs and procfs show is written into a
// scratch folder.

#include "layout/in_use.h"

#include <gmock/gmock.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include <filesystem>
#include <fstream>
#include <thread>

#include "layout/block_graph.h"
#include "layout/mounts.h"
#include "layout/use_advice.h"
#include "tests/support/scratch.h"

namespace dupengine::layout {
namespace {

namespace fs = std::filesystem;
using block::Extent;
using block::PathIdentity;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;
using ::testing::UnorderedElementsAre;

// Disks of these machines have majors from 240 up (for local use), so nothing here is ever a device of the
// real one.
class InUse : public ::testing::Test {
  protected:
    InUse() {
        fs::create_directories(sys() / "dev/block");
        fs::create_directories(sys() / "block");
        fs::create_directories(sys() / "class/block");
        write(scratch_.file("proc/swaps"), "Filename Type Size Used Priority\n");
        process(1, "mnt:[1]", "/", "");
    }

    fs::path sys() const { return scratch_.file("sys"); }
    SystemRoots roots() const { return {scratch_.file("proc"), scratch_.file("sys"), scratch_.file("dev")}; }

    static void write(const fs::path& path, const std::string& text) {
        fs::create_directories(path.parent_path());
        std::ofstream(path) << text;
    }
    static void link(const fs::path& to, const fs::path& at) {
        fs::create_directories(at.parent_path());
        fs::remove(at);
        fs::create_symlink(to, at);
    }

    void device(const std::string& where, const std::string& numbers, std::uint64_t sectors) {
        const fs::path folder = sys() / "devices" / where;
        write(folder / "dev", numbers + "\n");
        write(folder / "size", std::to_string(sectors) + "\n");
        link(folder, sys() / "dev/block" / numbers);
        link(folder, sys() / "class/block" / folder.filename());
        if (where.find('/') == std::string::npos) link(folder, sys() / "block" / where);
    }
    void partition(const std::string& where, const std::string& numbers, std::uint64_t start,
                   std::uint64_t sectors) {
        device(where, numbers, sectors);
        write(sys() / "devices" / where / "partition", "1\n");
        write(sys() / "devices" / where / "start", std::to_string(start) + "\n");
    }
    void holds(const std::string& upper, const std::string& lower) {
        fs::create_directories(sys() / "devices" / lower / "holders" / fs::path(upper).filename());
        fs::create_directories(sys() / "devices" / upper / "slaves" / fs::path(lower).filename());
    }
    void loop(const std::string& name, const std::string& numbers, const std::string& backing,
              std::uint64_t offset, std::uint64_t sectors) {
        device(name, numbers, sectors);
        write(sys() / "devices" / name / "loop/backing_file", backing + "\n");
        write(sys() / "devices" / name / "loop/offset", std::to_string(offset) + "\n");
    }
    void process(unsigned pid, const std::string& name_space, const std::string& root,
                 const std::string& mounts) {
        const fs::path folder = fs::path(scratch_.file("proc")) / std::to_string(pid);
        write(folder / "mountinfo", mounts);
        write(folder / "comm", "program" + std::to_string(pid) + "\n");
        link(name_space, folder / "ns/mnt");
        link(root, folder / "root");
        if (pid == 1) link(folder, fs::path(scratch_.file("proc")) / "self");
    }

    // A disk madeup (240:0) of 1 GiB with partitions of 256 MiB at 1 MiB (240:1) and 512 MiB (240:2).
    void one_disk() {
        device("madeup", "240:0", 2097152);
        partition("madeup/madeup1", "240:1", 2048, 524288);
        partition("madeup/madeup2", "240:2", 1048576, 524288);
    }
    static PathIdentity number(unsigned major_number, unsigned minor_number) {
        return {true, makedev(major_number, minor_number), 0};
    }
    std::vector<Use> uses_of(unsigned major_number, unsigned minor_number) const {
        return find_uses(number(major_number, minor_number), roots());
    }
    std::vector<std::string> details_of(unsigned major_number, unsigned minor_number) const {
        std::vector<std::string> lines;
        for (const Use& use : uses_of(major_number, minor_number))
            lines.push_back(use.device + " " + use.detail);
        return lines;
    }

    test::ScratchFolder scratch_;
};

TEST_F(InUse, ADiskThatNobodyUsesHasNoUses) {
    one_disk();
    EXPECT_THAT(uses_of(240, 0), IsEmpty());
    EXPECT_THAT(uses_of(240, 1), IsEmpty());
}

TEST_F(InUse, AMountedPartitionIsAUseOfItsDiskAndTellsWhichPart) {
    one_disk();
    process(1, "mnt:[1]", "/", "36 1 240:2 / /srv/my\\040data rw - ext4 /dev/whatever rw\n");
    const auto uses = uses_of(240, 0);
    ASSERT_THAT(uses, SizeIs(1));
    EXPECT_EQ(uses[0].kind, Use::Kind::kMounted);
    EXPECT_EQ(uses[0].device, "/dev/madeup2");
    EXPECT_EQ(uses[0].detail, "mounted on '/srv/my data': umount '/srv/my data'");
    EXPECT_EQ(uses[0].part, (Extent{512 * kMiB, 768 * kMiB}));
}

TEST_F(InUse, AMountOfOnePartitionLeavesTheOtherFree) {
    one_disk();
    process(1, "mnt:[1]", "/", "36 1 240:2 / /srv rw - ext4 /dev/madeup2 rw\n");
    EXPECT_THAT(uses_of(240, 1), IsEmpty());
    EXPECT_THAT(uses_of(240, 2), SizeIs(1));
}

TEST_F(InUse, AFilesystemOnTheWholeDiskIsAUseOfEachPartition) {
    one_disk();
    process(1, "mnt:[1]", "/", "36 1 240:0 / /srv ro - ext4 /dev/madeup ro\n");
    EXPECT_THAT(details_of(240, 1), ElementsAre("/dev/madeup mounted on /srv: umount /srv"));
}

TEST_F(InUse, AMountInAnotherNamespaceIsFoundAndTellsTheWayThere) {
    one_disk();
    process(1, "mnt:[1]", "/", "20 1 0:5 / / rw - tmpfs tmpfs rw\n");
    process(77, "mnt:[2]", "/",
            "21 1 0:5 / / rw - tmpfs tmpfs rw\n36 1 240:1 / /hidden rw - ext4 /dev/madeup1 rw\n");
    EXPECT_THAT(details_of(240, 0),
                ElementsAre("/dev/madeup1 mounted on /hidden as process 77, program77 sees it: "
                            "nsenter -t 77 -m umount /hidden"));
}

TEST_F(InUse, AChrootedProcessDoesNotHideTheMountsOfItsNamespace) {
    one_disk();
    process(1, "mnt:[1]", "/", "20 1 0:5 / / rw - tmpfs tmpfs rw\n");
    process(5, "mnt:[2]", "/srv/chroot", "30 1 0:5 / / rw - tmpfs tmpfs rw\n");
    process(6, "mnt:[2]", "/", "36 1 240:1 / /hidden rw - ext4 /dev/madeup1 rw\n");
    EXPECT_THAT(uses_of(240, 0), SizeIs(1));
}

TEST_F(InUse, ContainersThatRepeatAMountAreToldOnce) {
    one_disk();
    process(1, "mnt:[1]", "/", "36 1 240:1 / /srv rw - ext4 /dev/madeup1 rw\n");
    for (unsigned number = 10; number < 20; ++number)
        process(number, fmt::format("mnt:[{}]", number), "/",
                fmt::format("{} 1 240:1 / /srv rw - ext4 /dev/madeup1 rw\n", 100 + number));
    EXPECT_THAT(details_of(240, 1), ElementsAre("/dev/madeup1 mounted on /srv: umount /srv"));
}

TEST_F(InUse, AProcessThatEndsWhileItIsLookedAtIsNoError) {
    one_disk();
    fs::create_directories(scratch_.file("proc/99"));  // its files are gone already
    fs::create_directories(scratch_.file("proc/98/mountinfo"));
    process(1, "mnt:[1]", "/",
            "36 1 240:1 / /srv rw - ext4 /dev/madeup1 rw\nnonsense\n1 2 3\n7 1 x:y / / rw - a b c\n");
    EXPECT_THAT(uses_of(240, 1), SizeIs(1));
}

TEST_F(InUse, WithoutProcNobodySaysThatADiskIsFree) {
    one_disk();
    fs::remove_all(scratch_.file("proc"));
    try {
        uses_of(240, 0);
        FAIL() << "a disk was called free although no process could be seen";
    } catch (const Error& e) {
        EXPECT_EQ(e.code(), Code::kUnsupported);
        EXPECT_THAT(e.what(), HasSubstr("mount procfs"));
    }
}

TEST_F(InUse, WithoutSysNobodySaysThatADiskIsFree) {
    fs::remove_all(sys());
    EXPECT_THROW(uses_of(240, 0), Error);
}

TEST_F(InUse, ADiskThatSysDoesNotKnowIsNotCalledFree) {
    EXPECT_THROW(uses_of(240, 9), Error);
}

TEST_F(InUse, SwapIsFoundByItsKernelNameWhereTheNodeIsElsewhere) {
    one_disk();
    write(scratch_.file("proc/swaps"), "Filename Type Size Used Priority\n/dev/madeup2 partition 100 0 -2\n");
    EXPECT_THAT(details_of(240, 0), ElementsAre("/dev/madeup2 swap: swapoff /dev/madeup2"));
    EXPECT_THAT(uses_of(240, 1), IsEmpty());
}

TEST_F(InUse, ASwapFileIsAUseOfItself) {
    const std::string file = scratch_.sparse_file("swap file", 4096);
    std::string escaped = file;
    escaped.replace(escaped.find(' '), 1, "\\040");
    write(scratch_.file("proc/swaps"), "Filename Type Size Used Priority\n" + escaped + " file 100 0 -2\n");
    const auto uses = find_uses(file, roots());
    ASSERT_THAT(uses, SizeIs(1));
    EXPECT_EQ(uses[0].kind, Use::Kind::kSwap);
    EXPECT_EQ(uses[0].device, file);
}

TEST_F(InUse, AMappedDeviceHoldsItsDiskAndItsMountIsTold) {
    one_disk();
    device("dm-0", "241:0", 1000);
    write(sys() / "devices/dm-0/dm/name", "vg-root\n");
    write(sys() / "devices/dm-0/dm/uuid", "LVM-abc\n");
    holds("dm-0", "madeup/madeup2");
    process(1, "mnt:[1]", "/", "36 1 241:0 / / rw - ext4 /dev/mapper/vg-root rw\n");
    const auto uses = uses_of(240, 0);
    ASSERT_THAT(uses, SizeIs(2));
    EXPECT_EQ(uses[0].kind, Use::Kind::kHolder);
    EXPECT_EQ(uses[0].detail, "holds /dev/dm-0 (vg-root): lvchange -an /dev/mapper/vg-root");
    EXPECT_EQ(uses[1].detail, "mounted on /: umount /");
    EXPECT_EQ(uses[1].device, "/dev/dm-0");
    EXPECT_EQ(uses[1].part, (Extent{512 * kMiB, 768 * kMiB}))
        << "what stands on a partition is told of that partition";
}

TEST_F(InUse, ALogicalVolumeIsFreeThoughItsNeighbourOnTheSameDiskIsMounted) {
    one_disk();
    device("dm-0", "241:0", 1000);
    device("dm-1", "241:1", 1000);
    holds("dm-0", "madeup/madeup2");
    holds("dm-1", "madeup/madeup2");
    process(1, "mnt:[1]", "/", "36 1 241:0 / / rw - ext4 /dev/mapper/vg-root rw\n");
    EXPECT_THAT(uses_of(241, 1), IsEmpty());
    EXPECT_THAT(uses_of(241, 0), SizeIs(1));
}

TEST_F(InUse, ARaidMemberIsHeld) {
    one_disk();
    device("md127", "242:127", 1000);
    write(sys() / "devices/md127/md/level", "raid1\n");
    holds("md127", "madeup/madeup1");
    EXPECT_THAT(details_of(240, 0),
                ElementsAre("/dev/madeup1 member of the RAID /dev/md127: mdadm --stop /dev/md127"));
}

TEST_F(InUse, ASysfsThatLeadsInCirclesEnds) {
    one_disk();
    device("dm-0", "241:0", 1000);
    device("dm-1", "241:1", 1000);
    holds("dm-0", "madeup");
    holds("dm-1", "dm-0");
    holds("dm-0", "dm-1");
    EXPECT_THAT(uses_of(240, 0), SizeIs(2));
    EXPECT_TRUE(same_storage(number(241, 0), number(241, 1), roots()));
}

TEST_F(InUse, EveryDeviceOfAMountedBtrfsIsInUse) {
    device("madeupa", "240:0", 2048);
    device("madeupb", "240:16", 2048);
    device("madeupc", "240:32", 2048);
    for (const char* name : {"madeupa", "madeupb"})
        fs::create_directories(sys() / "fs/btrfs/1234-5678/devices" / name);
    fs::create_directories(sys() / "fs/btrfs/features");
    process(1, "mnt:[1]", "/", "36 1 0:44 /sub /pool rw - btrfs /dev/madeupa rw\n");
    EXPECT_THAT(details_of(240, 0), ElementsAre("/dev/madeupa mounted on /pool: umount /pool"));
    EXPECT_THAT(details_of(240, 16), ElementsAre("/dev/madeupb mounted on /pool: umount /pool"));
    EXPECT_THAT(uses_of(240, 32), IsEmpty());
}

TEST_F(InUse, ABtrfsThatNoProcessShowsIsInUseAllTheSame) {
    device("madeupa", "240:0", 2048);
    fs::create_directories(sys() / "fs/btrfs/1234-5678/devices/madeupa");
    const auto uses = uses_of(240, 0);
    ASSERT_THAT(uses, SizeIs(1));
    EXPECT_THAT(uses[0].detail, HasSubstr("btrfs 1234-5678"));
}

TEST_F(InUse, ALoopDeviceOverAFileIsAUseOfTheFileUnderAnyName) {
    const std::string file = scratch_.sparse_file("image", 64 * kMiB);
    fs::create_hard_link(file, scratch_.file("other name"));
    loop("loop900", "243:0", file, 0, 131072);
    const auto uses = find_uses(scratch_.file("other name"), roots());
    ASSERT_THAT(uses, SizeIs(1));
    EXPECT_EQ(uses[0].kind, Use::Kind::kLoopBacking);
    EXPECT_EQ(uses[0].detail, "backs /dev/loop900: losetup -d /dev/loop900");
    EXPECT_THAT(find_uses(scratch_.sparse_file("stranger", 4096), roots()), IsEmpty());
}

// Two commands that run at the same time: one looks at all loop devices while the other's goes away.
TEST_F(InUse, ALoopDeviceThatIsAboutToGoAwayIsWaitedForAndOneThatStaysIsAUse) {
    const std::string file = scratch_.sparse_file("image", 64 * kMiB);
    loop("loop900", "243:0", file, 0, 131072);
    write(sys() / "devices/loop900/loop/autoclear", "1\n");
    EXPECT_THAT(find_uses(file, roots()), SizeIs(1)) << "somebody has it open, and goes on";
    std::thread leaves([&] {
        std::this_thread::sleep_for(std::chrono::milliseconds(100));
        fs::remove(sys() / "devices/loop900/loop/backing_file");
    });
    EXPECT_THAT(find_uses(file, roots()), IsEmpty());
    leaves.join();
}

TEST_F(InUse, ALoopDeviceOverAPartOfAFileTellsWhichPart) {
    const std::string file = scratch_.sparse_file("image", 64 * kMiB);
    loop("loop900", "243:0", file, kMiB, 2048);
    const auto uses = find_uses(file, roots());
    ASSERT_THAT(uses, SizeIs(1));
    EXPECT_EQ(uses[0].part, (Extent{kMiB, 2 * kMiB}));
}

TEST_F(InUse, TwoLoopDevicesOverOneFileAreTwoUsersUnlessTheirPartsAreApart) {
    const std::string file = scratch_.sparse_file("image", 64 * kMiB);
    loop("loop900", "243:0", file, 0, 131072);
    loop("loop901", "243:1", file, kMiB, 2048);
    loop("loop902", "243:2", file, 2 * kMiB, 2048);
    process(1, "mnt:[1]", "/", "36 1 243:2 / /inner rw - ext4 /dev/loop902 rw\n");
    EXPECT_THAT(uses_of(243, 1), SizeIs(1)) << "the loop device over the whole file covers it";
    EXPECT_THAT(details_of(243, 1), ElementsAre(HasSubstr("backs /dev/loop900")));
    EXPECT_THAT(details_of(243, 0),
                UnorderedElementsAre(HasSubstr("backs /dev/loop901"), HasSubstr("backs /dev/loop902"),
                                     "/dev/loop902 mounted on /inner: umount /inner"));
    const PathIdentity one{true, makedev(243, 1), 0}, two{true, makedev(243, 2), 0},
        all{true, makedev(243, 0), 0};
    EXPECT_FALSE(same_storage(one, two, roots()));
    EXPECT_TRUE(same_storage(one, all, roots()));
    EXPECT_TRUE(same_storage(one, block::identify(file), roots()));
}

TEST_F(InUse, ALoopDeviceOverAPartitionIsAUseOfThatPartition) {
    one_disk();
    loop("loop900", "243:0", "/dev/madeup2", 0, 524288);
    EXPECT_THAT(details_of(240, 0), ElementsAre("/dev/madeup2 backs /dev/loop900: losetup -d /dev/loop900"));
    EXPECT_THAT(uses_of(240, 1), IsEmpty());
    EXPECT_TRUE(same_storage(number(243, 0), number(240, 0), roots()));
    EXPECT_FALSE(same_storage(number(243, 0), number(240, 1), roots()));
}

TEST_F(InUse, APartitionAndItsDiskAreTheSameStorageButTwoPartitionsAreNot) {
    one_disk();
    const PathIdentity disk{true, makedev(240, 0), 0}, first{true, makedev(240, 1), 0},
        second{true, makedev(240, 2), 0};
    EXPECT_TRUE(same_storage(disk, first, roots()));
    EXPECT_TRUE(same_storage(second, disk, roots()));
    EXPECT_TRUE(same_storage(first, first, roots()));
    EXPECT_FALSE(same_storage(first, second, roots()));
}

TEST_F(InUse, AMissingPathIsRefused) {
    try {
        find_uses(scratch_.file("nowhere"), roots());
        FAIL() << "a path that does not exist was called free";
    } catch (const Error& e) {
        EXPECT_EQ(e.code(), Code::kRefused);
    }
}

TEST(UseAdvice, NamesFromElsewhereCannotBreakOutOfTheCommand) {
    EXPECT_EQ(shell_word("/srv/data-1.x"), "/srv/data-1.x");
    EXPECT_EQ(shell_word("/a;reboot"), "'/a;reboot'");
    EXPECT_EQ(shell_word("it's"), "$'it\\'s'");
    EXPECT_EQ(shell_word("a\033[2J\nb"), "$'a\\033[2J\\012b'");
    EXPECT_EQ(shell_word("/srv/Fotos für alle"), "'/srv/Fotos für alle'");
    EXPECT_EQ(shell_word(""), "''");
}

TEST(Mounts, OctalEscapesAreUndone) {
    EXPECT_EQ(unescape_octal("/a\\040b\\134c\\011"), "/a b\\c\t");
    EXPECT_EQ(unescape_octal("/a\\04"), "/a\\04");
    EXPECT_EQ(unescape_octal("\\"), "\\");
}

}  // namespace
}  // namespace dupengine::layout
