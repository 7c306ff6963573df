// Firmware reads a profile as everything else reads it: who the machine is, and how it starts.

#include "efi/core/node_profile.h"

#include <gmock/gmock.h>

#include "profiles/schema.h"
#include "tests/support/efi_facts.h"

namespace dupengine {
namespace {

using ::testing::StartsWith;

const std::string kNode = "schema = 1\nkind = \"node\"\nnode = \"web-1\"\n";

std::string reason_of(const std::string& text, efi::NodeProfile& profile) {
    const efi::TextView reason = efi::read_profile({text.data(), text.size()}, profile);
    return {reason.data(), reason.size()};
}

// Both read it, and in the same way.
void expect_agreement(const std::string& text) {
    efi::NodeProfile seen;
    EXPECT_EQ(reason_of(text, seen), "") << text;
    EXPECT_EQ(test::facts_of(seen), test::facts_of(profiles::parse_profile(text, "p.toml"))) << text;
}

TEST(EfiProfile, IsTheOneThatTheManualShows) {
    expect_agreement(R"(# a node
schema = 1
kind = "node"
node = "rack3-n07"
roles = ["base", "web"]

[identity]
hostname = "rack3-n07.example"
machine_id = { mode = "derive" }

[boot]
choice = "receive"
timeout = 0x1E
partition = "C12A7328-f81f-11d2-ba4b-00a0c93ec93b"
loader = "/EFI/debian/shimx64.efi"
kernel = '/EFI/dupengine/linux'
initrd = "/EFI/dupengine/initrd"
command_line = "console=ttyS0 quoted=\"a b\""
receive_disk = "/dev/vda"
restore_from = "dup://a/b"
duplicate_from = "http://a/b.img"
report_to = "https://a/reports"
fallback = "kernel"

[[host]]
address = "10.0.30.1"
names = ["gateway"]

[[file]]
path = "/etc/motd"
content = """
[boot]
choice = "menu" \
   # no comment
This is ""rack3-n07"".""""
mode = "0644"
)");
}

TEST(EfiProfile, MeansTheSameInEveryFormThatTomlAllows) {
    expect_agreement(kNode);
    expect_agreement("\xef\xbb\xbf" + kNode);
    expect_agreement(kNode + "boot.timeout = 1_0\r\nboot.choice=\"menu\" # why\r\n");
    expect_agreement(kNode + "boot = { choice = 'menu', timeout = +7 }");
    expect_agreement(kNode + "[ \"boot\" ]\n'choice' = \"m\\u0065nu\"\n");
    expect_agreement("\"schema\" = 1\n'kind' = '''node'''\nnode = \"\"\"\nweb\\\n   -1\"\"\"\n");
    expect_agreement(kNode + "roles = [ # two\n  'base' , # one\n  \"web\",\n]\n");
    expect_agreement(kNode +
                     "x-a = [[1, 2.5e3], [{ b = 1979-05-27 07:32:00Z, c = inf }, [ ]]]\nx-d = true\n");
    expect_agreement(kNode + "\"x-boot/timeout\" = 9\n\"x-\" = 1\n[boot.x-notes]\ntimeout = 7\n");
}

TEST(EfiProfile, ThatOthersRefuseIsNotFollowed) {
    const std::pair<std::string, std::string> kCases[] = {
        {"", "its profile has no schema"},

        {"schema = 1\nkind = \"node\"\n", "its profile names no node"},
        {"schema = 2\nkind = \"node\"\nnode = \"a\"\n", "its profile has no schema"},
        {kNode + "[boot]\nchoice = \"web\"\n", "its profile has a choice in [boot] that is not known here"},
        {kNode + "[boot]\nchoice = 5\n", "its profile has a value of a wrong type"},
        {kNode + "[boot]\ntimeout = 3601\n", "its profile has a timeout of more than an hour"},
        {kNode + "[boot]\npartition = \"1\"\n", "its profile names a partition that is no GUID"},
        {kNode + "[boot]\nloder = \"/a\"\n", "its profile has a key in [boot] that is not known here"},
        {kNode + "[boot]\nloader = \"/\\u001b[2J\"\n", "its profile has a text that cannot be used here"},
        {kNode + "[boot]\nloader = \"/" + std::string(256, 'a') + "\"\n",
         "its profile has a text that cannot be used here"},
        {kNode + "node = \"other\"\n", "its profile says something twice"},
    };
    for (const auto& [text, reason] : kCases) {
        efi::NodeProfile seen;
        EXPECT_EQ(reason_of(text, seen), reason) << text;
        EXPECT_FALSE(profiles::check_profile(text, "p").problems.empty()) << text;
    }
}

TEST(EfiProfile, OfARoleIsThatOfNoMachine) {
    efi::NodeProfile seen;
    EXPECT_EQ(reason_of("schema = 1\nkind = \"role\"\nrole = \"web\"\n", seen),
              "its profile is not that of a node");
}

TEST(EfiProfile, ThatIsCutAnywhereIsNeverAnotherOne) {
    const std::string whole =
        kNode + "x-a = \"\"\"b\"\"\"\n[boot]\nloader = \"/EFI/a.efi\"\nx-b = { c = [ 1 ] }\n";
    for (std::size_t size = 0; size < whole.size(); ++size) {
        const std::string cut = whole.substr(0, size);
        efi::NodeProfile seen;
        if (profiles::check_profile(cut, "p").problems.empty()) expect_agreement(cut);
        reason_of(cut, seen);
    }
}

TEST(EfiProfile, ThatNestsWithoutEndIsRefused) {
    efi::NodeProfile seen;
    EXPECT_THAT(reason_of(kNode + "x-a = " + std::string(100000, '['), seen),
                StartsWith("the profile is no TOML"));
    std::string tables;
    for (int i = 0; i < 100000; ++i)
        tables += "{a=";
    EXPECT_THAT(reason_of(kNode + "x-a = " + tables, seen), StartsWith("the profile is no TOML"));
}

}  // namespace
}  // namespace dupengine
