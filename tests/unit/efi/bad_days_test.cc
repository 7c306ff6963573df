// Disks that are damaged, copies of each other, or made for another machine: nothing is guessed, and the
// console says why.

#include <gmock/gmock.h>

#include "base/guid.h"
#include "tests/unit/efi/efi_application.h"

namespace dupengine {
namespace {

using test::kFallback, test::kWeb;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::StartsWith;

using EfiBadDays = test::EfiApplication;

// Names of partitions are no names where disks were copied whole.
TEST_F(EfiBadDays, DoesNotGuessWhichOfTwoPartitionsOfOneNameIsMeant) {
    machine_.add_disk(1);
    machine_.add_disk(1);
    machine_.add_disk(2);
    efi::PartitionTable table;
    ASSERT_TRUE(efi::read_gpt(machine_.disk(0), scratch_, table).empty());
    const std::string guid = Guid::from_disk(std::as_bytes(std::span(table.partitions[0].guid.bytes))).text();
    machine_.set_profile(2, kWeb + "[boot]\ntimeout = 0\npartition = \"" + guid + "\"\n");
    machine_.files[{0, kFallback}] = "one";
    machine_.files[{1, kFallback}] = "two";
    run();
    EXPECT_THAT(machine_.said, HasSubstr("cannot: more than one disk has the partition"));
    EXPECT_THAT(machine_.done, IsEmpty());
}

TEST_F(EfiBadDays, SaysThatItsPartitionIsDamagedAndTakesThatOfNoOtherDisk) {
    machine_.add_disk(1);
    machine_.add_disk(2);
    machine_.set_profile(0, kWeb + "[boot]\ntimeout = 0\n");
    machine_.files[{1, kFallback}] = "of another disk";
    machine_.file_faults[0] = "its partition has no file system that firmware can read";
    run();
    EXPECT_THAT(machine_.said, HasSubstr("cannot: its partition has no file system that firmware can read"));
    EXPECT_THAT(machine_.done, IsEmpty());
}

TEST_F(EfiBadDays, FallsBackWhereTheLoaderIsForAnotherArchitecture) {
    machine_.add_disk(1);
    machine_.set_profile(0, kWeb + "[boot]\ntimeout = 0\nfallback = \"menu\"\n");
    machine_.files[{0, kFallback}] = "loader";
    machine_.comes_back = "it is no program that this firmware can run";
    run();
    EXPECT_THAT(machine_.said,
                HasSubstr("Back in dupengine: it is no program that this firmware can run.\n"));
    EXPECT_THAT(machine_.done, ElementsAre(StartsWith("program"))) << "once";
}

TEST_F(EfiBadDays, FallsBackWhereTheKernelIsForAnotherArchitecture) {
    machine_.add_disk(1);
    machine_.set_profile(0, kWeb +
                                "[boot]\nchoice = \"kernel\"\nkernel = \"/linux\"\ntimeout = 0\n"
                                "fallback = \"disk\"\n");
    machine_.files = {{{0, "/linux"}, "kernel"}, {{0, kFallback}, "loader"}};
    machine_.comes_back = "it is no program that this firmware can run";
    run();
    EXPECT_THAT(machine_.done, ElementsAre(StartsWith("kernel /linux"), StartsWith("program")));
    EXPECT_THAT(machine_.said, HasSubstr("it is no program that this firmware can run.\n"));
}

}  // namespace
}  // namespace dupengine
