// What a running system and dupengine.efi tell each other: in the words that the other one understands.

#include "bootloader_hooks/dupengine_efi.h"

#include <gmock/gmock.h>

#include "base/error.h"
#include "bootloader_hooks/new_system.h"
#include "efi/core/node_profile.h"
#include "tests/support/scratch.h"

namespace dupengine {
namespace {

class DupengineEfi : public ::testing::Test {
  protected:
    DupengineEfi() { variables_.write("DupengineVersion", "0.1.0"); }

    const test::ScratchFolder folder_;
    const std::string other_ = folder_.sparse_file("other", 8);  // firmware is never without a variable
    machine::EfiVariables variables_{folder_.path()};
};

TEST_F(DupengineEfi, CountsUntilTheSystemConfirms) {
    EXPECT_EQ(boot::look_at_efi(variables_).tries, std::nullopt);
    EXPECT_EQ(boot::confirm(variables_), std::nullopt);
    boot::set_tries(variables_, 3);
    EXPECT_EQ(boot::look_at_efi(variables_).tries, "3");
    variables_.write("DupengineTries", "2\n");  // as a shell's echo leaves it
    EXPECT_EQ(boot::confirm(variables_), "2");
    EXPECT_EQ(boot::look_at_efi(variables_).tries, std::nullopt);
}

TEST_F(DupengineEfi, TakesNoNumberThatFirmwareWouldTakeForUsedUp) {
    for (unsigned tries : {0u, 100u, 4'000'000'000u})
        EXPECT_THROW(boot::set_tries(variables_, tries), Error) << tries;
    EXPECT_EQ(boot::look_at_efi(variables_).tries, std::nullopt);
    boot::set_tries(variables_, boot::kMostTries);
}

TEST_F(DupengineEfi, TakesTheWordsThatFirmwareKnowsAndNoOther) {
    for (const std::string word :
         {"disk", "kernel", "receive", "restore", "menu", "Disk", "", "shell", "disk\n"}) {
        const bool known = efi::choice_of({word.data(), word.size()}).has_value();
        try {
            boot::choose_once(variables_, word);
            EXPECT_TRUE(known) << word;
            EXPECT_EQ(boot::look_at_efi(variables_).once, word);
        } catch (const Error& e) {
            EXPECT_FALSE(known) << word;
            EXPECT_EQ(e.code(), Code::kUsage);
        }
    }
    boot::forget_once(variables_);
    EXPECT_EQ(boot::look_at_efi(variables_).once, std::nullopt);
}

TEST_F(DupengineEfi, TriesANewSystemAsOftenAsItsProfileSays) {
    profiles::Boot boot;
    EXPECT_EQ(boot::count_tries_of(boot, folder_.path()).text, "");
    EXPECT_EQ(boot::look_at_efi(variables_).tries, std::nullopt);
    boot.tries = 4;
    EXPECT_TRUE(boot::count_tries_of(boot, folder_.path()).is_counted);
    EXPECT_FALSE(boot::are_tries_used_up(folder_.path()));
    EXPECT_EQ(boot::look_at_efi(variables_).tries, "4");
    // A workshop that prepares a disk for somebody else runs from no memory: its own starts are not counted.
    EXPECT_FALSE(boot::count_tries_of(boot, "").is_counted);
    EXPECT_FALSE(boot::are_tries_used_up("")) << "a system that is not in memory";
    EXPECT_THROW(boot::count_tries_of(boot, folder_.file("none")), Error);
}

}  // namespace
}  // namespace dupengine
