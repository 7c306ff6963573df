// A machine whose profile is in its firmware is that machine whatever disks are plugged in, and nobody where
// firmware and disk disagree.

#include <gmock/gmock.h>

#include "tests/support/signing_keys.h"
#include "tests/unit/efi/efi_application.h"

namespace dupengine {
namespace {

using test::kFallback, test::kStorage, test::kWeb;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::StartsWith;

const std::string kAtOnce = "[boot]\ntimeout = 0\n";

class EfiVariableStore : public test::EfiApplication {
  protected:
    void add_disk_with(const std::string& loader, std::uint64_t seed) {
        machine_.files[{machine_.add_plain_disk(seed), kFallback}] = loader;
    }
    std::string& variable(char which) { return machine_.variables[std::string("DupengineProfile") + which]; }
};

TEST_F(EfiVariableStore, SaysWhoTheMachineIsAndItStartsItsDisk) {
    add_disk_with("loader", 1);
    machine_.set_variable_profile(kWeb + kAtOnce, 3);
    run();
    EXPECT_THAT(machine_.said, HasSubstr("firmware: profile of web-1, generation 3\n"));
    EXPECT_THAT(machine_.said, HasSubstr("This machine is web-1, roles base, web.\n"));
    EXPECT_THAT(machine_.done, ElementsAre("program /EFI/BOOT/BOOTX64.EFI of disk 0: loader"));
}

TEST_F(EfiVariableStore, IsTheNewerOfTwoAndTheOlderWhereThatIsDamaged) {
    add_disk_with("loader", 1);
    machine_.set_variable_profile(kWeb + "[boot]\nchoice = \"menu\"\n", 1);
    machine_.set_variable_profile(kWeb + kAtOnce, 2);
    run();
    EXPECT_THAT(machine_.said, HasSubstr("web-1, generation 2\n"));
    EXPECT_THAT(machine_.done, ElementsAre(StartsWith("program")));
    variable('B').back() ^= 1;
    machine_.done.clear();
    run();
    EXPECT_THAT(machine_.said, HasSubstr("web-1, generation 1\n"));
    EXPECT_THAT(machine_.done, IsEmpty());
}

TEST_F(EfiVariableStore, IsNotReplacedByADiskWhereItCannotBeUsed) {
    machine_.add_disk(1);
    machine_.set_profile(0, kStorage + kAtOnce);
    machine_.files[{0, kFallback}] = "loader";
    machine_.set_variable_profile(kWeb + kAtOnce);
    const std::string good = variable('A');
    const std::vector<std::string> bad = {"", "nonsense", good.substr(0, 100), good + "x",
                                          std::string(2 * kMiB, 'x')};
    for (const std::string& value : bad) {
        variable('A') = value;
        machine_.said.clear();
        run();
        EXPECT_THAT(machine_.said, HasSubstr("firmware: profile cannot be used: ")) << value.size();
        EXPECT_THAT(machine_.said, HasSubstr("nobody yet: the profile in its firmware cannot be used"));
        EXPECT_THAT(machine_.done, IsEmpty());
    }
}

TEST_F(EfiVariableStore, CountsMoreThanAStickWithTheProfileOfAnother) {
    add_disk_with("own", 1);
    machine_.own = 0;
    machine_.add_disk(2);
    machine_.set_profile(1, kStorage + kAtOnce, 9);
    machine_.files[{1, kFallback}] = "of the stick";
    machine_.set_variable_profile(kWeb + kAtOnce);
    run();
    EXPECT_THAT(machine_.said, HasSubstr("This machine is web-1"));
    EXPECT_THAT(machine_.done, ElementsAre("program /EFI/BOOT/BOOTX64.EFI of disk 0: own"));
}

TEST_F(EfiVariableStore, CountsLessThanTheDiskThatTheProgramCameFrom) {
    machine_.add_disk(1);
    machine_.own = 0;
    machine_.set_profile(0, kWeb + kAtOnce);
    machine_.files[{0, kFallback}] = "loader";
    machine_.set_variable_profile(kWeb + "[boot]\nchoice = \"menu\"\n", 9);
    run();
    EXPECT_THAT(machine_.done, ElementsAre(StartsWith("program")));
    // One that is damaged takes nothing from it.
    variable('A') = "nonsense";
    machine_.done.clear();
    run();
    EXPECT_THAT(machine_.done, ElementsAre(StartsWith("program")));
}

// A disk that was moved here, or copied whole with its profile.
TEST_F(EfiVariableStore, MakesAMachineNobodyWhoseDiskIsOfAnother) {
    machine_.add_disk(1);
    machine_.own = 0;
    machine_.set_profile(0, kStorage + kAtOnce);
    machine_.files[{0, kFallback}] = "loader";
    machine_.set_variable_profile(kWeb + kAtOnce);
    run();
    EXPECT_THAT(machine_.said,
                HasSubstr("nobody yet: its own disk and its firmware have profiles of different machines"));
    EXPECT_THAT(machine_.done, IsEmpty());
}

TEST_F(EfiVariableStore, DoesNotGuessWhichOfTwoDisksIsTheMachines) {
    add_disk_with("one", 1);
    add_disk_with("two", 2);
    machine_.set_variable_profile(kWeb + kAtOnce);
    run();
    EXPECT_THAT(machine_.said, HasSubstr("more than one disk has an EFI system partition"));
    EXPECT_THAT(machine_.done, IsEmpty());
}

TEST_F(EfiVariableStore, HasToBeSignedAsAnyOther) {
    const test::SigningKeyPair owner;
    const std::array<efi::PublicKey, 1> keys = {owner.public_key()};
    machine_.trusted = {keys, true};
    add_disk_with("loader", 1);
    machine_.set_variable_profile(owner.sign_profile(kWeb + kAtOnce), 1);
    run();
    EXPECT_THAT(machine_.done, ElementsAre(StartsWith("program")));
    machine_.done.clear();
    machine_.set_variable_profile(kWeb + kAtOnce, 2);
    run();
    EXPECT_THAT(machine_.said, HasSubstr("firmware: profile cannot be used: its profile is not signed\n"));
    EXPECT_THAT(machine_.done, IsEmpty());
}

}  // namespace
}  // namespace dupengine
