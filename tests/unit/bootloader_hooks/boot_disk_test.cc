// The image of a stick: what the usual tools find on it, and what of it firmware looks for. A slip is a stick
// that starts nothing, on the day when somebody needs it. That it starts is shown by machine.netboot.

#include <gmock/gmock.h>

#include <filesystem>
#include <sstream>
#include <thread>

#include "base/fd.h"
#include "base/subprocess.h"
#include "block/open.h"
#include "bootloader_hooks/media/boot_cd.h"
#include "bootloader_hooks/media/initramfs.h"
#include "layout/partition_table.h"
#include "tests/support/scratch.h"

namespace dupengine::boot {
namespace {

using test::must_run;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;
using ::testing::StartsWith;

void put(const std::string& path, const std::string& content) {
    write_file_atomic(path, as_bytes(content), 0755, Code::kInternal);
}

class BootDisks : public ::testing::Test {
  protected:
    BootDisks() {
        put(scratch_.file("kernel"), "the kernel");
        put(scratch_.file("small"), std::string(3 * kMiB, 's'));
        put(scratch_.file("application"), "the application");
        disk_ = {scratch_.file("kernel"), scratch_.file("small"), "dupengine.shell console=ttyS0", {}};
    }
    void make(const std::stop_token& stop = {}) {
        SeededRandom random(1);
        make_boot_disk(disk_, path_, random, stop);
    }
    std::string content(const std::string& file) const {
        return must_run({"mtype", "-i", path_ + "@@2M", "::" + file});
    }

    const test::ScratchFolder scratch_;
    const std::string path_ = scratch_.file("disk");
    BootDisk disk_;
};

TEST_F(BootDisks, HaveAllThatBothKindsOfFirmwareLookFor) {
    make();
    const auto reader = block::open_source(path_);
    const layout::PartitionTable table = layout::read_partition_table(*reader);
    EXPECT_THAT(table.problems, IsEmpty());
    EXPECT_TRUE(table.primary_valid && table.backup_valid);
    ASSERT_THAT(table.partitions, SizeIs(2));
    EXPECT_EQ(table.partitions[0].type_guid, layout::type_guid::kBiosBoot);
    EXPECT_EQ(table.partitions[1].type_guid, layout::type_guid::kEfiSystem);
    EXPECT_THAT(must_run({"sfdisk", "--verify", path_}), HasSubstr("No errors detected"));

    EXPECT_EQ(content("/linux"), "the kernel");
    EXPECT_EQ(content("/initramfs"), std::string(3 * kMiB, 's'));
    EXPECT_THAT(content("/EFI/BOOT/BOOTX64.EFI"), StartsWith("MZ"));
    EXPECT_THAT(content("/grub/grub.cfg"), HasSubstr("'dupengine.shell' 'console=ttyS0'"));
    EXPECT_THAT(content("/grub/grub.cfg"), testing::Not(HasSubstr("chainloader")));
    put(scratch_.file("partition"), "");
    must_run({"dd", "if=" + path_, "of=" + scratch_.file("partition"), "bs=1M", "skip=2", "status=none",
              fmt::format("count={}", table.partitions[1].extent.size() / kMiB)});
    must_run({"fsck.vfat", "-n", scratch_.file("partition")});
}

TEST_F(BootDisks, OfferWhatOnlyUefiCanStartOnlyThere) {
    disk_.efi_application = scratch_.file("application");
    make();
    EXPECT_EQ(content("/EFI/dupengine/dupengine.efi"), "the application");
    const std::string menu = content("/grub/grub.cfg");
    put(scratch_.file("menu"), menu);
    must_run({"grub-script-check", scratch_.file("menu")});
    EXPECT_LT(menu.find("grub_platform\" = efi"), menu.find("chainloader /EFI/dupengine/dupengine.efi"));
}

TEST_F(BootDisks, LeadABiosFromTheBootSectorToGrubAndOn) {
    const std::string boot_image(512, '\x90'), core(40000, 'c');
    const BiosGrub placed = place_bios_grub(boot_image, core, 2048);
    EXPECT_EQ(placed.boot_code.size(), 440u) << "the disk's signature and its table are no code";
    EXPECT_EQ(load_le<std::uint64_t>(placed.boot_code, 0x5c), 2048u);
    EXPECT_EQ(load_le<std::uint64_t>(placed.core, 0x1f4), 2049u);
    for (const std::string& wrong : {std::string(), std::string(512, 'c'), std::string(kMiB + 1, 'c')})
        EXPECT_THROW(place_bios_grub(boot_image, wrong, 2048), Error);
    EXPECT_THROW(place_bios_grub("", core, 2048), Error);

    make();
    const auto reader = block::open_source(path_);
    Bytes sector(512);
    reader->read(0, sector);
    EXPECT_EQ(load_le<std::uint64_t>(sector, 0x5c), 2048u);
    EXPECT_EQ(load_le<std::uint16_t>(sector, 510), 0xaa55u);
    reader->read(kMiB, sector);
    EXPECT_EQ(load_le<std::uint64_t>(sector, 0x1f4), 2049u);
}

TEST_F(BootDisks, AsACdHaveAnEntryForEachKindOfFirmware) {
    disk_.efi_application = scratch_.file("application");
    SeededRandom random(1);
    make_boot_cd(disk_, path_, random, {});
    const std::string entries =
        must_run({"xorriso", "-indev", "stdio:" + path_, "-report_el_torito", "plain"});
    EXPECT_THAT(entries, HasSubstr("El Torito boot img :   1  BIOS  y"));
    EXPECT_THAT(entries, HasSubstr("El Torito boot img :   2  UEFI  y"));
    const std::string out = scratch_.file("out");
    must_run({"xorriso", "-osirrox", "on", "-indev", "stdio:" + path_, "-extract", "/", out});
    EXPECT_EQ(read_file(out + "/linux", Code::kInternal), "the kernel");
    EXPECT_EQ(read_file(out + "/initramfs", Code::kInternal), std::string(3 * kMiB, 's'));
    EXPECT_EQ(read_file(out + "/EFI/dupengine/dupengine.efi", Code::kInternal), "the application");
    const std::string looks = must_run({"mtype", "-i", out + "/efi.img", "::/grub/grub.cfg"});
    const std::string mark = looks.substr(looks.find("/grub/"), looks.find('\n') - looks.find("/grub/"));
    EXPECT_TRUE(std::filesystem::exists(out + mark)) << looks << " would find another drive";
    EXPECT_THAT(must_run({"mtype", "-i", out + "/efi.img", "::/EFI/BOOT/BOOTX64.EFI"}), StartsWith("MZ"));
}

TEST_F(BootDisks, AreAsLargeAsWhatIsOnThem) {
    put(scratch_.file("small"), std::string(80 * kMiB, 's'));
    make();
    EXPECT_GT(std::filesystem::file_size(path_), 96 * kMiB);
    EXPECT_EQ(content("/linux"), "the kernel");
}

// ... and no folder below /var/tmp, which nobody would look into: neither ours, nor that in which mkinitramfs
// puts everything together.
TEST_F(BootDisks, NothingIsLeftOfWhatWasStopped) {
    put(scratch_.file("mkinitramfs"),
        "#!/bin/sh\nunpacked=$(mktemp -d \"${TMPDIR:-/var/tmp}/mkinitramfs_XXXXXX\")\n"
        "printf '%s\\n%s\\n' \"$4\" \"$unpacked\" >\"$0.new\" && mv \"$0.new\" \"$0.began\"\n"
        "exec sleep 600\n");
    const std::string before = std::getenv("PATH"), began = scratch_.file("mkinitramfs.began");
    ::setenv("PATH", (scratch_.path() + ":" + before).c_str(), 1);
    std::stop_source stop;
    const std::jthread person([&] {
        while (!std::filesystem::exists(began))
            std::this_thread::sleep_for(std::chrono::milliseconds(5));
        stop.request_stop();
    });
    try {
        make_initramfs({.kernel = "1"}, stop.get_token());
        ADD_FAILURE() << "it was made";
    } catch (const Error& e) {
        EXPECT_EQ(e.code(), Code::kInterrupted) << e.what();
    }
    ::setenv("PATH", before.c_str(), 1);
    std::istringstream lines(read_file(began, Code::kInternal));
    std::string made, unpacked;
    std::getline(lines, made);
    std::getline(lines, unpacked);
    EXPECT_THAT(made, StartsWith("/var/tmp/dupengine-media-"));
    EXPECT_FALSE(std::filesystem::exists(std::filesystem::path(made).parent_path()));
    EXPECT_THAT(unpacked, HasSubstr("/mkinitramfs_"));
    EXPECT_FALSE(std::filesystem::exists(unpacked)) << unpacked;
}

}  // namespace
}  // namespace dupengine::boot
