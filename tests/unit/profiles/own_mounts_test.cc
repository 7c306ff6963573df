#include "profiles/system/own_mounts.h"

#include <gmock/gmock.h>
#include <sys/sysmacros.h>

namespace dupengine::profiles {
namespace {

using ::testing::SizeIs;

constexpr const char* kText =
    "21 1 254:3 / / rw,relatime shared:1 - ext4 /dev/vda3 rw,errors=remount-ro\n"
    "22 21 0:20 / /sys rw - sysfs sysfs rw\n"
    "30 21 0:31 / /boot/efi rw,relatime shared:9 master:2 - autofs systemd-1 rw,fd=40\n"
    "31 30 254:1 / /boot/efi rw - vfat /dev/vda1 rw,fmask=0077\n"
    "32 21 254:3 /srv/a\\040b /mnt/with\\040blank rw - ext4 /dev/vda3 rw\n"
    "rubbish\n33 21 x:1 / /odd rw - ext4 a rw\n34 21 1:2 / /short rw -\n";

TEST(OwnMounts, AreTheUppermostAtEachPathWithTheirDevices) {
    const auto mounts = parse_own_mounts(kText, "/");
    ASSERT_THAT(mounts, SizeIs(4));
    EXPECT_EQ(mounts[0].path, "/");
    EXPECT_EQ(mounts[0].device, makedev(254, 3));
    EXPECT_EQ(mounts[2].path, "/boot/efi");
    EXPECT_EQ(mounts[2].type, "vfat") << "the automount below it hides nothing";
    EXPECT_EQ(mounts[3].path, "/mnt/with blank");
    EXPECT_EQ(mounts[3].subtree, "/srv/a b");
}

TEST(OwnMounts, OfAFolderAreThoseBelowItAndNoOther) {
    const auto mounts = parse_own_mounts(
        "40 21 7:0 / /tmp/root rw - ext4 /dev/loop0p3 rw\n41 40 7:1 / /tmp/root/boot rw - ext4 /dev/loop0p1 "
        "rw\n"
        "42 21 7:2 / /tmp/rooted rw - ext4 /dev/loop1 rw\n",
        "/tmp/root");
    ASSERT_THAT(mounts, SizeIs(2));
    EXPECT_EQ(mounts[0].path, "/");
    EXPECT_EQ(mounts[1].path, "/boot");
}

TEST(OwnMounts, ANewRootAboveTheOldOneHidesIt) {
    const auto mounts =
        parse_own_mounts("1 1 0:2 / / rw - rootfs rootfs rw\n21 1 254:3 / / rw - ext4 /dev/vda3 rw\n", "/");
    ASSERT_THAT(mounts, SizeIs(1));
    EXPECT_EQ(mounts[0].type, "ext4");
}

}  // namespace
}  // namespace dupengine::profiles
