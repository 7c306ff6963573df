// With keys nothing runs that their owner did not sign, and the console says what is wrong.

#include <gmock/gmock.h>

#include "tests/support/signing_keys.h"
#include "tests/unit/efi/efi_application.h"

namespace dupengine {
namespace {

using test::kFallback, test::kGrub, test::kWeb;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::StartsWith;

// A machine that believes one key only, and what that key signed.
class EfiTrust : public test::EfiApplication {
  protected:
    const std::string kKernelChoice =
        kWeb +
        "[boot]\nchoice = \"kernel\"\ntimeout = 0\nkernel = \"/linux\"\ninitrd = \"/initrd\"\n"
        "command_line = \"quiet\"\nreceive_disk = \"/dev/vda\"\n";

    void SetUp() override {
        machine_.add_disk(1);
        machine_.trusted = {keys_, true};
        set_signed_profile(kKernelChoice);
        for (const auto& [path, content] : {std::pair{"/linux", "kernel"}, {"/initrd", "initrd"}}) {
            machine_.files[{0, path}] = content;
            machine_.files[{0, std::string(path) + ".sig"}] = owner_.sign_file(content);
        }
    }
    void set_profile(const std::string& text) { machine_.set_profile(0, text, ++generation_); }
    void set_signed_profile(const std::string& text) { set_profile(owner_.sign_profile(text)); }

    const test::SigningKeyPair owner_;
    const std::array<efi::PublicKey, 1> keys_ = {owner_.public_key()};
    std::uint64_t generation_ = 0;
};

TEST_F(EfiTrust, StartsWhatIsSigned) {
    machine_.keys = {'r'};
    run();
    EXPECT_THAT(machine_.said, HasSubstr("Secure Boot is on. 1 key is here: profile, kernel and initrd have "
                                         "to be signed.\n"));
    EXPECT_THAT(machine_.done,
                ElementsAre("kernel /linux: kernel with initrd: quiet",
                            "kernel /linux: kernel with initrd: quiet dupengine.receive=/dev/vda"));
}

TEST_F(EfiTrust, RefusesAChangedKernelOrInitrdAndSaysWhich) {
    machine_.files[{0, "/linux"}] = "Kernel";
    run();
    EXPECT_THAT(machine_.said, HasSubstr("cannot: its kernel is not as it was signed.\n"));
    machine_.files[{0, "/initrd"}] = "Initrd";
    run();
    EXPECT_THAT(machine_.said, HasSubstr("cannot: its initrd is not as it was signed.\n"));
    machine_.files.erase({0, "/initrd.sig"});
    run();
    EXPECT_THAT(machine_.said, HasSubstr("cannot: its initrd is not signed.\n"));
    machine_.files[{0, "/initrd.sig"}] = test::SigningKeyPair().sign_file("Initrd");
    run();
    EXPECT_THAT(machine_.said, HasSubstr("its initrd is signed with a key that is not trusted here.\n"));
    machine_.files[{0, "/initrd.sig"}] = "nonsense";
    run();
    EXPECT_THAT(machine_.said, HasSubstr("cannot: its initrd's signature is damaged.\n"));
    EXPECT_THAT(machine_.done, IsEmpty());
}

TEST_F(EfiTrust, IsNobodyWhereItsProfileOrCommandLineWasChanged) {
    std::string changed = owner_.sign_profile(kKernelChoice);
    changed.replace(changed.find("quiet"), 5, "init=");
    set_profile(changed);
    run();
    EXPECT_THAT(machine_.said, HasSubstr("profile cannot be used: its profile is not as it was signed\n"));
    set_profile(kKernelChoice);
    run();
    EXPECT_THAT(machine_.said, HasSubstr("profile cannot be used: its profile is not signed\n"));
    machine_.own = 0;
    run();
    EXPECT_THAT(machine_.said, HasSubstr("nobody yet: the profile on its own disk cannot be used"));
    EXPECT_THAT(machine_.done, IsEmpty());
}

TEST_F(EfiTrust, OpensNoShellThatNobodySigned) {
    machine_.variables["DupengineOnce"] = "menu";
    machine_.keys = {'s'};
    run();
    EXPECT_THAT(machine_.said, HasSubstr("shell in the initramfs: not here, nobody signed a command line"));
    EXPECT_THAT(machine_.done, ElementsAre("delete DupengineOnce"));
}

// A kernel that firmware checked is not enough: it would run any initrd with any command line.
TEST_F(EfiTrust, StartsNoKernelUnderSecureBootWithoutAKey) {
    machine_.trusted = {{}, true};
    machine_.files[{0, kFallback}] = "loader";
    machine_.keys = {'b'};
    run();
    EXPECT_THAT(machine_.said,
                HasSubstr("Secure Boot is on. No key is here: nobody checks profile and initrd."));
    EXPECT_THAT(machine_.said, HasSubstr("cannot: Secure Boot is on, and no key is here to check"));
    EXPECT_THAT(machine_.done, ElementsAre(StartsWith("program"))) << "firmware looks at loaders";
}

TEST_F(EfiTrust, WantsASignedLoaderWhereFirmwareDoesNotLookAtIt) {
    set_signed_profile(kWeb + "[boot]\ntimeout = 0\n");
    machine_.files[{0, kFallback}] = own_program();
    machine_.files[{0, kGrub}] = "grub";
    run();
    EXPECT_THAT(machine_.done, ElementsAre(StartsWith("program"))) << "firmware looks at it";
    machine_.done.clear();
    machine_.trusted.secure_boot = false;
    run();
    EXPECT_THAT(machine_.said, HasSubstr("cannot: its loader is not signed.\n"));
    set_signed_profile(kWeb + "[boot]\ntimeout = 0\nloader = \"" + kGrub + "\"\n");
    run();
    EXPECT_THAT(machine_.done, IsEmpty());
    machine_.files[{0, kGrub + ".sig"}] = owner_.sign_file("grub");
    run();
    EXPECT_THAT(machine_.done, ElementsAre(StartsWith("program")));
}

// Files are large: for the menu each is read once, and once more when it is started.
TEST_F(EfiTrust, ReadsTheFilesOfTheKernelTwice) {
    run();
    constexpr std::size_t kFiles = 4;
    EXPECT_EQ(machine_.reads, 2 * kFiles);
}

}  // namespace
}  // namespace dupengine
