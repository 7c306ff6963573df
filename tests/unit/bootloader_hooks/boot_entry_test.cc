// Entries of systemd-boot: the counter in a file's name is found where it is one, and nowhere else.

#include "bootloader_hooks/boot_entry.h"

#include <gmock/gmock.h>

#include "base/error.h"

namespace dupengine {
namespace {

using ::testing::HasSubstr;

TEST(BootEntry, ReadsTheCounterThatTheLoaderLeaves) {
    for (const std::string file : {"debian-6.1+3.conf", "debian-6.1+3-0.conf", "debian-6.1+3-12.conf"}) {
        const boot::EntryName name = boot::parse_entry_name(file);
        EXPECT_EQ(name.left, 3u) << file;
        EXPECT_EQ(name.uncounted(), "debian-6.1.conf");
        EXPECT_EQ(name.text(), "debian-6.1+3.conf");
    }
    EXPECT_EQ(boot::parse_entry_name("a+b+0-1.conf").uncounted(), "a+b.conf");
    EXPECT_EQ(boot::parse_entry_name("a+b+0-1.conf").left, 0u);
}

TEST(BootEntry, TakesNothingElseForACounter) {
    for (const std::string file :
         {"debian.conf", "gtk+.conf", "c++.conf", "a+b.conf", "a+3x.conf", "a+-1.conf", "a+3-.conf",
          "a+3-x.conf", "+3.conf", "a+99999999999.conf", "noending", ""}) {
        const boot::EntryName name = boot::parse_entry_name(file);
        EXPECT_EQ(name.left, std::nullopt) << file;
        EXPECT_EQ(name.text(), file);
    }
}

TEST(BootEntry, AsksNothingOfAKernelThatThePersonDidNot) {
    boot::SmallSystem system;
    system.command_line = "console=ttyS0";
    EXPECT_EQ(boot::entries_of(system).size(), 1u);
    system.duplicate = "dupengine.copy=https://a/b#c dupengine.target=/dev/sda";
    const auto entries = boot::entries_of(system);
    ASSERT_EQ(entries.size(), 2u);
    EXPECT_EQ(entries[0].command_line, "console=ttyS0 dupengine.shell");
    EXPECT_EQ(entries[1].command_line, "console=ttyS0 " + system.duplicate);
    EXPECT_THAT(boot::entry_text(entries[1], {"linux-1", "initrd-1"}, "/dupengine"),
                HasSubstr("linux /dupengine/linux-1\ninitrd /dupengine/initrd-1\noptions console=ttyS0 dup"));
    system.command_line = "quiet\nlinux /other";
    EXPECT_THROW(boot::entries_of(system), Error);
}

}  // namespace
}  // namespace dupengine
