#include "machine/written_elsewhere.h"

#include <gtest/gtest.h>
#include <sys/sysmacros.h>

#include <filesystem>

#include "base/fd.h"
#include "tests/support/scratch.h"

namespace dupengine::machine {
namespace {

class WrittenElsewhere : public testing::Test {
  protected:
    WrittenElsewhere() {
        put("proc/swaps", "Filename Type Size Used Priority\n");
        uses_.mounts = {{"/", 1, makedev(254, 3)}};
    }
    void put(const std::string& name, const std::string& text) const {
        const std::filesystem::path path = folder_.file(name);
        std::filesystem::create_directories(path.parent_path());
        write_file_atomic(path, as_bytes(text), 0600, Code::kInternal);
    }
    std::size_t of(const std::string& mounts) const {
        put("proc/self/mountinfo", mounts);
        return written_elsewhere({"/dev/none"}, uses_, {folder_.file("proc"), folder_.file("sys"), ""})
            .size();
    }
    test::ScratchFolder folder_;
    DiskUses uses_;
};

TEST_F(WrittenElsewhere, TheDiskItselfAndMemoryAreNot) {
    EXPECT_EQ(of("22 1 254:3 / / rw,relatime shared:1 - ext4 /dev/vda3 rw\n"
                 "23 22 0:21 / /proc rw shared:2 - proc proc rw\n"
                 "24 22 0:22 / /run rw - tmpfs tmpfs rw,size=1k\n"
                 "25 22 11:0 / /media ro - iso9660 /dev/sr0 ro\n"),
              0u);
}

TEST_F(WrittenElsewhere, ServersAndOtherDisksAreNamed) {
    EXPECT_EQ(of("22 1 254:3 / / rw - ext4 /dev/vda3 rw\n"
                 "30 22 0:40 / /home rw - nfs4 server:/home rw,vers=4.2\n"
                 "31 22 0:41 / /pool rw - zfs pool rw,xattr\n"
                 "32 22 254:17 / /srv rw - xfs /dev/vdb1 rw\n"
                 "33 22 0:43 / /net rw - fuse.sshfs host: rw\n"),
              4u);
}

TEST_F(WrittenElsewhere, AFilesystemThatOnlyThisMountCannotWriteCanBeWritten) {
    EXPECT_EQ(of("32 22 254:17 / /srv ro,relatime - xfs /dev/vdb1 rw\n"), 1u);
}

TEST_F(WrittenElsewhere, SwapElsewhereIsNamedAlsoIfNothingIsInIt) {
    put("proc/swaps",
        "Filename Type Size Used Priority\n/dev/nowhere9 partition 100 0 -2\n/dev/zram0 partition 100 50 "
        "5\n");
    EXPECT_EQ(of("22 1 254:3 / / rw - ext4 /dev/vda3 rw\n"), 1u);
}

TEST_F(WrittenElsewhere, CompressedSwapWithADiskBehindItIsNamed) {
    put("proc/swaps", "Filename Type Size Used Priority\n/dev/zram0 partition 100 50 5\n");
    put("sys/block/zram0/backing_dev", "none\n");
    EXPECT_EQ(of("22 1 254:3 / / rw - ext4 /dev/vda3 rw\n"), 0u);
    put("sys/block/zram0/backing_dev", "/dev/sdb1\n");
    EXPECT_EQ(of("22 1 254:3 / / rw - ext4 /dev/vda3 rw\n"), 1u);
}

}  // namespace
}  // namespace dupengine::machine
