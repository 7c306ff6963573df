// What is written for GRUB: in its environment block and its grub.cfg nothing changes but what is ours.

#include <gmock/gmock.h>

#include "base/error.h"
#include "bootloader_hooks/grub_environment.h"
#include "bootloader_hooks/grub_script.h"

namespace dupengine {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

std::string block(const std::string& lines) {
    std::string text = "# GRUB Environment Block\n" + lines;
    text.resize(1024, '#');
    return text;
}

TEST(GrubEnvironment, KeepsItsSizeAndTheVariablesOfOthers) {
    const std::string before = block("# WARNING: a comment\nsaved_entry=a\\\nb\\\\c\nnext_entry=old\n");
    EXPECT_EQ(boot::grub_variable(before, "saved_entry"), "a\nb\\c");
    EXPECT_EQ(boot::grub_variable(before, "next"), std::nullopt);
    const std::string after = boot::with_grub_variable(before, "next_entry", "new");
    EXPECT_EQ(after, block("# WARNING: a comment\nsaved_entry=a\\\nb\\\\c\nnext_entry=new\n"));
    EXPECT_EQ(boot::with_grub_variable(after, "next_entry", std::nullopt),
              block("# WARNING: a comment\nsaved_entry=a\\\nb\\\\c\n"));
    EXPECT_EQ(boot::with_grub_variable(boot::empty_grub_environment(), "x", std::nullopt), block(""));
}

TEST(GrubEnvironment, SaysThatItIsFullAndTakesNothingElseForOne) {
    const std::string full = block("a=" + std::string(990, 'a') + "\n");
    try {
        boot::with_grub_variable(full, "next_entry", "dupengine-recovery");
        ADD_FAILURE();
    } catch (const Error& e) {
        EXPECT_EQ(e.code(), Code::kRefused);
        EXPECT_THAT(e.what(), HasSubstr("no room for next_entry"));
    }
    for (const std::string text : {"", "# GRUB Environment", "a=b\n", "# GRUB Environment Block\na=\\\n"})
        EXPECT_THROW(boot::grub_variable(text, "a"), Error) << text;
}

constexpr const char* kConfiguration =
    "### BEGIN /etc/grub.d/41_custom ###\nsource x\n### END /etc/grub.d/41_custom ###\n";

TEST(GrubScript, IsPutIntoTheConfigurationOnceAndTakenOutWhole) {
    const std::string with = boot::with_entries_read(kConfiguration);
    EXPECT_THAT(with, HasSubstr("source $prefix/dupengine/entries.cfg"));
    EXPECT_EQ(boot::with_entries_read(with), with);
    EXPECT_EQ(boot::without_entries_read(with), kConfiguration);
    // grub-mkconfig put another script's part behind it.
    const std::string more = with + "\n### BEGIN /etc/grub.d/50_x ###\n### END /etc/grub.d/50_x ###\n";
    EXPECT_EQ(boot::with_entries_read(more), more);
    EXPECT_THAT(boot::without_entries_read(more), Not(HasSubstr("entries.cfg")));
    // What an older version put there is replaced.
    std::string old = with;
    old.replace(old.find("  source $prefix"), 2, "      ");
    EXPECT_EQ(boot::with_entries_read(old), with);
    EXPECT_THROW(boot::without_entries_read(with.substr(0, with.size() - 5)), Error);
}

TEST(GrubScript, HandsTheKernelItsWordsAndNothingElse) {
    boot::SmallSystem system;
    system.command_line = "a=$b  c;reboot {x}";
    EXPECT_THAT(boot::grub_entries(boot::entries_of(system), {"linux-1", "initrd-1"}),
                HasSubstr("linux $prefix/dupengine/linux-1 'a=$b' 'c;reboot' '{x}' 'dupengine.shell'\n"));
    for (const std::string line : {"a='b'", "a=\"b c\"", "a=\\"}) {
        system.command_line = line;
        EXPECT_THROW(boot::grub_entries(boot::entries_of(system), {"l", "i"}), Error) << line;
    }
}

}  // namespace
}  // namespace dupengine
