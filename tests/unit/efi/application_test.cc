// What a machine does before its operating system: it never becomes somebody else, never waits for ever where
// nobody is, and never tries the same thing again and again.

#include <gmock/gmock.h>

#include "tests/unit/efi/efi_application.h"

namespace dupengine {
namespace {

using test::EfiApplication, test::kFallback, test::kGrub, test::kStorage, test::kWeb;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::StartsWith;

TEST_F(EfiApplication, SaysWhichMachineItIsAndBootsItsDisk) {
    machine_.add_disk(1);
    machine_.set_profile(0, kWeb, 3);
    machine_.files[{0, kFallback}] = "loader";
    machine_.keys = {'\0', '\0', '\0', '\0', '\0'};
    run();
    EXPECT_THAT(machine_.said, HasSubstr("disk 1: 8 MiB, 2 partitions, profile of web-1, generation 3\n"));
    EXPECT_THAT(machine_.said, HasSubstr("This machine is web-1, roles base, web.\n"));
    EXPECT_THAT(machine_.done, ElementsAre("program /EFI/BOOT/BOOTX64.EFI of disk 0: loader"));
    EXPECT_EQ(machine_.waited_ms, 5000u);
}

TEST_F(EfiApplication, BootsTheLoaderThatTheProfileNamesAndNoOther) {
    machine_.add_disk(1);
    machine_.set_profile(0, kWeb + "[boot]\nloader = \"/EFI/own.efi\"\ntimeout = 0\n");
    machine_.files[{0, kFallback}] = "loader";
    run();
    EXPECT_THAT(machine_.said, HasSubstr("cannot: it is not there"));
    EXPECT_THAT(machine_.done, IsEmpty());
    machine_.files[{0, "/EFI/own.efi"}] = "own";
    run();
    EXPECT_THAT(machine_.done, ElementsAre("program /EFI/own.efi of disk 0: own"));
    EXPECT_EQ(machine_.waited_ms, 0u);
}

TEST_F(EfiApplication, NeverStartsACopyOfItself) {
    machine_.add_disk(1);
    machine_.set_profile(0, kWeb + "[boot]\ntimeout = 0\n");
    machine_.files[{0, kFallback}] = own_program();
    run();
    EXPECT_THAT(machine_.said, HasSubstr("no loader but dupengine.efi itself"));
    EXPECT_THAT(machine_.done, IsEmpty());
    machine_.files[{0, kGrub}] = "grub";
    run();
    EXPECT_THAT(machine_.done, ElementsAre("program /EFI/debian/grubx64.efi of disk 0: grub"));
}

TEST_F(EfiApplication, DoesNothingByItselfWithoutAProfile) {
    machine_.add_disk(1);
    machine_.files[{0, kFallback}] = "loader";
    run();
    EXPECT_THAT(machine_.said, HasSubstr("profile cannot be used: the store was never written"));
    EXPECT_THAT(machine_.said, HasSubstr("This machine is nobody yet: no disk has a profile.\n"));
    EXPECT_THAT(machine_.done, IsEmpty());
    EXPECT_EQ(machine_.waited_ms, 0u);
}

TEST_F(EfiApplication, IsNobodyWhereTwoDisksSayTwoThings) {
    machine_.add_disk(1);
    machine_.add_disk(2);
    machine_.set_profile(0, kWeb, 1);
    machine_.set_profile(1, kStorage, 2);
    run();
    EXPECT_THAT(machine_.said, HasSubstr("nobody yet: its disks have profiles of different machines"));
    EXPECT_THAT(machine_.done, IsEmpty());
}

TEST_F(EfiApplication, IsWhoTheDiskThatItWasStartedFromSays) {
    machine_.add_disk(1);
    machine_.add_disk(2);
    machine_.set_profile(0, kWeb, 1);
    machine_.set_profile(1, kStorage, 2);
    machine_.own = 0;
    run();
    EXPECT_THAT(machine_.said, HasSubstr("This machine is web-1"));
    machine_.disk_bytes(0).content()[2 * kMiB] ^= std::byte{1};
    machine_.said.clear();
    run();
    EXPECT_THAT(machine_.said, HasSubstr("nobody yet: the profile on its own disk cannot be used"));
}

TEST_F(EfiApplication, TakesTheNewestProfileOfOneMachine) {
    machine_.add_disk(1);
    machine_.add_disk(2);
    machine_.set_profile(0, kWeb, 1);
    machine_.set_profile(1, kWeb + "[boot]\nchoice = \"menu\"\n", 2);
    machine_.files[{0, kFallback}] = "old";
    machine_.files[{1, kFallback}] = "new";
    machine_.keys = {'b'};
    run();
    EXPECT_THAT(machine_.done, ElementsAre("program /EFI/BOOT/BOOTX64.EFI of disk 1: new"));
}

TEST_F(EfiApplication, BootsItsOwnDiskWhereACopyHasTheSameIdentifiers) {
    machine_.add_disk(1);
    machine_.add_disk(1);
    machine_.own = 1;
    machine_.set_profile(1, kWeb + "[boot]\ntimeout = 0\n");
    machine_.files[{0, kFallback}] = "of the copy";
    machine_.files[{1, kFallback}] = "own";
    run();
    EXPECT_THAT(machine_.done, ElementsAre("program /EFI/BOOT/BOOTX64.EFI of disk 1: own"));
}

TEST_F(EfiApplication, GoesBackToTheMenuWithTheReason) {
    machine_.add_disk(1);
    machine_.set_profile(0, kWeb + "[boot]\ntimeout = 0\n");
    machine_.files[{0, kFallback}] = "loader";
    machine_.comes_back = "Secure Boot does not allow it";
    machine_.keys = {'b'};
    run();
    EXPECT_EQ(machine_.done.size(), 2u) << "by itself once, and once by the key";
    EXPECT_THAT(machine_.said, HasSubstr("Back in dupengine: Secure Boot does not allow it.\n"));
}

TEST_F(EfiApplication, StopsForAnyKey) {
    machine_.add_disk(1);
    machine_.set_profile(0, kWeb);
    machine_.files[{0, kFallback}] = "loader";
    machine_.keys = {'\0', '\0', '?'};
    run();
    EXPECT_THAT(machine_.done, IsEmpty());
    EXPECT_EQ(machine_.waited_ms, 3000u);
}

TEST_F(EfiApplication, FollowsTheChoiceForOneStartOnce) {
    machine_.add_disk(1);
    machine_.set_profile(0, kWeb + "[boot]\ntimeout = 0\n");
    machine_.files[{0, kFallback}] = "loader";
    machine_.variables["DupengineOnce"] = "menu\n";
    run();
    EXPECT_THAT(machine_.done, ElementsAre("delete DupengineOnce"));
    EXPECT_THAT(machine_.variables, IsEmpty());
    machine_.done.clear();
    run();
    EXPECT_THAT(machine_.done, ElementsAre(StartsWith("program")));
}

TEST_F(EfiApplication, DoesNotFollowAChoiceThatWouldStayForEver) {
    machine_.add_disk(1);
    machine_.set_profile(0, kWeb + "[boot]\ntimeout = 0\n");
    machine_.files[{0, kFallback}] = "loader";
    machine_.variables["DupengineOnce"] = "menu";
    machine_.variables_stay = true;
    run();
    EXPECT_THAT(machine_.said, HasSubstr("DupengineOnce cannot be deleted, so it is not followed.\n"));
    EXPECT_THAT(machine_.done, ElementsAre("delete DupengineOnce", StartsWith("program")));
}

TEST_F(EfiApplication, IgnoresAChoiceThatItDoesNotKnow) {
    machine_.add_disk(1);
    machine_.set_profile(0, kWeb + "[boot]\ntimeout = 0\n");
    machine_.files[{0, kFallback}] = "loader";
    for (const std::string& value :
         {std::string(), std::string("\n"), std::string(1000, 'x'), std::string("Disk")}) {
        machine_.variables["DupengineOnce"] = value;
        machine_.done.clear();
        run();
        EXPECT_THAT(machine_.done, ElementsAre("delete DupengineOnce", StartsWith("program"))) << value;
    }
    EXPECT_THAT(machine_.said, HasSubstr("DupengineOnce says nothing that is known here.\n"));
}

TEST_F(EfiApplication, FallsBackWhereTheLoaderComesBack) {
    machine_.add_disk(1);
    machine_.set_profile(0, kWeb + "[boot]\ntimeout = 0\nfallback = \"kernel\"\nkernel = \"/linux\"\n");
    machine_.files[{0, kFallback}] = "loader";
    machine_.files[{0, "/linux"}] = "kernel";
    run();
    EXPECT_THAT(machine_.done, ElementsAre(StartsWith("program"), StartsWith("kernel")));
}

TEST_F(EfiApplication, FallsBackWhereThereIsNoLoaderAndNotToItselfAgain) {
    machine_.add_disk(1);
    machine_.set_profile(0, kWeb + "[boot]\ntimeout = 0\nfallback = \"kernel\"\nkernel = \"/linux\"\n");
    machine_.files[{0, "/linux"}] = "kernel";
    run();
    EXPECT_THAT(machine_.done, ElementsAre(StartsWith("kernel")));
}

TEST_F(EfiApplication, DoesNotFallBackFromWhatAPersonChose) {
    machine_.add_disk(1);
    machine_.set_profile(0, kWeb + "[boot]\nfallback = \"kernel\"\nkernel = \"/linux\"\n");
    machine_.files[{0, kFallback}] = "loader";
    machine_.files[{0, "/linux"}] = "kernel";
    machine_.keys = {'\0', 'b'};
    run();
    EXPECT_THAT(machine_.done, ElementsAre(StartsWith("program")));
}

TEST_F(EfiApplication, TriesANewSystemAsOftenAsItWasToldAndThenFallsBack) {
    machine_.add_disk(1);
    machine_.set_profile(0, kWeb + "[boot]\ntimeout = 0\nfallback = \"kernel\"\nkernel = \"/linux\"\n");
    machine_.files[{0, kFallback}] = "loader";
    machine_.files[{0, "/linux"}] = "kernel";
    machine_.variables["DupengineTries"] = "2\n";
    for (const char* left : {"1", "0"}) {
        machine_.done.clear();
        run();
        EXPECT_THAT(machine_.done, ElementsAre(std::string("DupengineTries = ") + left, StartsWith("program"),
                                               StartsWith("kernel")));
    }
    machine_.done.clear();
    run();
    EXPECT_THAT(machine_.said, HasSubstr("All tries to start are used up (DupengineTries).\n"));
    EXPECT_THAT(machine_.done, ElementsAre(StartsWith("kernel")));
    machine_.done.clear();
    machine_.variables.clear();  // the system came up well
    run();
    EXPECT_THAT(machine_.done, ElementsAre(StartsWith("program"), StartsWith("kernel")));
}

TEST_F(EfiApplication, CountsOnlyWhatItDoesByItself) {
    machine_.add_disk(1);
    machine_.set_profile(0, kWeb);
    machine_.files[{0, kFallback}] = "loader";
    machine_.variables["DupengineTries"] = "1";
    machine_.keys = {'b'};
    run();
    EXPECT_THAT(machine_.done, ElementsAre(StartsWith("program")));
    EXPECT_EQ(machine_.variables["DupengineTries"], "1");
}

TEST_F(EfiApplication, DoesNotStartWhatItCannotCount) {
    machine_.add_disk(1);
    machine_.set_profile(0, kWeb + "[boot]\ntimeout = 0\n");
    machine_.files[{0, kFallback}] = "loader";
    machine_.variables["DupengineTries"] = "3";
    machine_.variables_stay = true;
    run();
    EXPECT_THAT(machine_.said,
                HasSubstr("DupengineTries cannot be written, so this start is not done by itself.\n"));
    EXPECT_THAT(machine_.done, ElementsAre("DupengineTries = 2"));
    for (const char* value : {"", "x", "-1", "100", "99999999999999999999"}) {
        machine_.variables["DupengineTries"] = value;
        machine_.done.clear();
        run();
        EXPECT_THAT(machine_.done, IsEmpty()) << value;
    }
}

TEST_F(EfiApplication, OffersOnlyWhatThisMachineCanDo) {
    machine_.add_disk(1);
    machine_.set_profile(0, kWeb);
    machine_.setup = false;
    machine_.keys = {'f', 'r'};
    run();
    EXPECT_THAT(machine_.said, Not(HasSubstr("  f  ")));
    EXPECT_THAT(machine_.said,
                HasSubstr("  -  the firmware's setup: not here, this firmware offers no way to it\n"));
    EXPECT_THAT(machine_.said,
                HasSubstr("receive another machine onto this one: not here, the profile names no kernel\n"));
    EXPECT_THAT(machine_.done, IsEmpty());
}

TEST_F(EfiApplication, ShowsTheSetupOfTheFirmware) {
    machine_.keys = {'f'};
    run();
    EXPECT_THAT(machine_.done, ElementsAre("setup"));
}

TEST_F(EfiApplication, RefusesToDuplicateWithTheReason) {
    machine_.add_disk(1);
    machine_.add_disk(2);
    machine_.disk_bytes(1).content()[446 + 4] = std::byte{0x83};
    machine_.keys = {'d', '1', '2', 'y'};
    run();
    EXPECT_THAT(machine_.said,
                HasSubstr("Back in dupengine: the target holds something that is no GUID partition table"));
    EXPECT_EQ(machine_.disk_bytes(1).writes, 0u);
}

TEST_F(EfiApplication, AsksBeforeADiskIsOverwrittenAndThenStartsNothing) {
    machine_.add_disk(1);
    machine_.add_disk(2);
    machine_.disk_bytes(1).content().assign(test::FakeFirmware::kDiskBytes, std::byte{0});
    machine_.files[{0, kFallback}] = "loader";
    machine_.keys = {'d', '1', '1', 'd', '3', 'd', '1', '2', 'n'};
    run();
    EXPECT_THAT(machine_.said, HasSubstr("a disk cannot be copied onto itself"));
    EXPECT_THAT(machine_.said, HasSubstr("there is no such disk"));
    EXPECT_THAT(machine_.said,
                HasSubstr("Disk 1 goes onto disk 2: 1 partition, 1 MiB. All that disk 2 holds is lost"));
    EXPECT_EQ(machine_.disk_bytes(1).writes, 0u);
    machine_.keys = {'d', '1', '2', 'y', 'b'};
    run();
    EXPECT_THAT(machine_.said, HasSubstr("Disk 2 is complete and verified."));
    EXPECT_THAT(machine_.said,
                HasSubstr("boot from the disk: not here, a disk was written; restart the machine first"));
    EXPECT_THAT(machine_.done, IsEmpty());
}

TEST_F(EfiApplication, KnowsItselfByWhatAnUnfinishedDiskKeeps) {
    machine_.add_disk(1);
    machine_.set_profile(0, kWeb);
    efi::Mark mark;
    mark.count = 1;
    mark.kept[0].partition = {2, 2 * kMiB, 4 * kMiB, efi::kProfileType, efi::kProfileType};
    mark.kept[0].name.add("dupengine-profile");
    std::vector<std::byte> bytes(kMiB);
    const efi::Bytes encoded = efi::encode_mark(mark, "x", test::FakeFirmware::kDiskBytes, 512, bytes);
    auto& content = machine_.disk_bytes(0).content();
    std::fill_n(content.begin(), kMiB, std::byte{0});
    std::copy(encoded.begin(), encoded.end(), content.begin() + 512);
    run();
    EXPECT_THAT(machine_.said, HasSubstr("a copy onto it was cut: unfinished, profile of web-1"));
    EXPECT_THAT(machine_.said, HasSubstr("cannot: its disk has no EFI system partition"));
    EXPECT_THAT(machine_.done, IsEmpty());
}

TEST_F(EfiApplication, SaysThatADiskIsUnfinished) {
    machine_.add_disk(1);
    auto& content = machine_.disk_bytes(0).content();
    std::fill_n(content.begin(), kMiB, std::byte{0});
    std::copy_n(as_bytes("DUPENGINE-UNDONE").begin(), 16, content.begin() + 512);
    run();
    EXPECT_THAT(machine_.said, HasSubstr("disk 1: 8 MiB, a copy onto it was cut: unfinished\n"));
}

TEST_F(EfiApplication, StartsTheKernelOfTheProfile) {
    machine_.add_disk(1);
    machine_.set_profile(
        0, kWeb +
               "[boot]\nchoice = \"kernel\"\ntimeout = 0\nkernel = \"/linux\"\ninitrd = \"/initrd\"\n"
               "command_line = \"quiet\"\nreceive_disk = \"/dev/vda\"\n");
    machine_.files[{0, "/linux"}] = "kernel";
    machine_.files[{0, "/initrd"}] = "initrd";
    machine_.keys = {'r', 's'};
    run();
    EXPECT_THAT(machine_.done,
                ElementsAre("kernel /linux: kernel with initrd: quiet",
                            "kernel /linux: kernel with initrd: quiet dupengine.receive=/dev/vda",
                            "kernel /linux: kernel with initrd: quiet break=premount"));
}

TEST_F(EfiApplication, RestoresFromWhatTheProfileNamesAndNothingElse) {
    machine_.add_disk(1);
    const std::string boot = "[boot]\ntimeout = 0\nkernel = \"/linux\"\nreceive_disk = \"/dev/vda\"\n";
    machine_.set_profile(0, kWeb + boot);
    machine_.files[{0, "/linux"}] = "kernel";
    machine_.keys = {'i'};
    run();
    EXPECT_THAT(machine_.said,
                HasSubstr("restore this machine from its image: not here, the profile does not "
                          "say from where (restore_from)\n"));
    EXPECT_THAT(machine_.done, IsEmpty());
    machine_.set_profile(0, kWeb + boot + "restore_from = \"https://a/store#web\"\nchoice = \"restore\"\n",
                         2);
    run();
    EXPECT_THAT(machine_.done, ElementsAre("kernel /linux: kernel with nothing: "
                                           "dupengine.copy=https://a/store#web dupengine.target=/dev/vda"));
}

TEST_F(EfiApplication, DoesNotReceiveWithoutBeingToldOntoWhichDisk) {
    machine_.add_disk(1);
    machine_.set_profile(0, kWeb + "[boot]\ntimeout = 0\nkernel = \"/linux\"\n");
    machine_.files[{0, "/linux"}] = "kernel";
    machine_.variables["DupengineOnce"] = "receive";
    run();
    EXPECT_THAT(machine_.said, HasSubstr("cannot: the profile does not say which disk would be written"));
    EXPECT_THAT(machine_.done, ElementsAre("delete DupengineOnce"));
}

}  // namespace
}  // namespace dupengine
