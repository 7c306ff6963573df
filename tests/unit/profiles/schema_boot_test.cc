// [boot] of a node: what firmware could not follow is refused while somebody can still correct it.

#include <gmock/gmock.h>

#include "profiles/merge.h"

namespace dupengine::profiles {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

const std::string kNode = "schema = 1\nkind = \"node\"\nnode = \"web-1\"\n";
const std::string kWhole = kNode + R"([boot]
choice = "receive"
timeout = 0
partition = "c12a7328-f81f-11d2-ba4b-00a0c93ec93b"
loader = "/EFI/debian/shimx64.efi"
kernel = "/EFI/dupengine/linux"
initrd = "/EFI/dupengine/initrd"
command_line = "a=\"b c\""
receive_disk = "/dev/vda"
restore_from = "https://a/store#web"
fallback = "disk"
duplicate_from = "http://a/web.img"
report_to = "https://a:8443/reports?key=1"
tries = 3
)";

std::vector<std::string> problems(const std::string& text) {
    std::vector<std::string> lines;
    for (const Problem& problem : check_profile(text, "p.toml").problems)
        lines.push_back(problem.text());
    return lines;
}

TEST(SchemaBoot, ReadsEveryKeyAndKeepsItOverARoundTrip) {
    const Profile p = parse_profile(kWhole, "p.toml");
    EXPECT_EQ(p.boot,
              (Boot{"receive", 0, "c12a7328-f81f-11d2-ba4b-00a0c93ec93b", "/EFI/debian/shimx64.efi",
                    "/EFI/dupengine/linux", "/EFI/dupengine/initrd", "a=\"b c\"", "/dev/vda",
                    "https://a/store#web", "disk", "http://a/web.img", "https://a:8443/reports?key=1", 3}));
    EXPECT_EQ(parse_profile(to_toml(p), "again"), p) << to_toml(p);
}

TEST(SchemaBoot, BelongsToANodeAlone) {
    EXPECT_THAT(
        problems("schema = 1\nkind = \"role\"\nrole = \"web\"\n[boot]\ntimeout = 1\n"),
        ElementsAre(HasSubstr("boot does not belong into a role: firmware reads the node's file alone")));
}

TEST(SchemaBoot, IsExplainedWithTheLineThatGaveIt) {
    const Merged merged = merge(parse_layer(kWhole, "p.toml"), {});
    EXPECT_EQ(merged.profile.boot.receive_disk, "/dev/vda");
    const auto line = std::find_if(merged.explain.begin(), merged.explain.end(),
                                   [](const Explained& explained) { return explained.key == "boot"; });
    ASSERT_NE(line, merged.explain.end());
    EXPECT_EQ(line->origin.text(), "p.toml:4");
    EXPECT_THAT(line->value, HasSubstr("receive, after 0 s"));
}

struct BadBoot {
    const char* text;
    const char* complaint;
};

class BadBoots : public ::testing::TestWithParam<BadBoot> {};

TEST_P(BadBoots, AreRefusedWithTheReason) {
    EXPECT_THAT(problems(kNode + "[boot]\n" + GetParam().text), ElementsAre(HasSubstr(GetParam().complaint)));
}

INSTANTIATE_TEST_SUITE_P(
    SchemaBoot, BadBoots,
    ::testing::Values(BadBoot{"choice = \"web\"",
                              "'web' is not known; disk, kernel, receive, restore and menu are"},
                      BadBoot{"timeout = 3601", "timeout must be from 0 to 3600"},
                      BadBoot{"timeout = \"5\"", "timeout must be an integer"},
                      BadBoot{"partition = \"1\"", "is no GUID"},
                      BadBoot{"loader = \"EFI/a\"", "must be absolute"}, BadBoot{"loader = \"\"", "is empty"},
                      BadBoot{"loader = \"/EFI\\\\a.efi\"", "folders are parted by '/'"},
                      BadBoot{"loader = \"/\\u00e4\"", "a character that FAT has none of"},
                      BadBoot{"kernel = \"/a\"\ncommand_line = \"\\u00e4\"", "not printable ASCII"},
                      BadBoot{"kernel = \"https://a/b\"", "no address that firmware can fetch"},
                      BadBoot{"kernel = \"http://a:0/b\"", "has a port that is none"},
                      BadBoot{"kernel = \"http://a\"", "names no file"},
                      BadBoot{"loader = \"http://a/b\"", "must be absolute"},
                      BadBoot{"choice = \"kernel\"", "[boot] has no 'kernel'"},
                      BadBoot{"initrd = \"/initrd\"", "[boot] has no 'kernel'"},
                      BadBoot{"choice = \"receive\"\nkernel = \"/linux\"", "[boot] has no 'receive_disk'"},
                      BadBoot{"kernel = \"/linux\"\nreceive_disk = \"/dev/vda quiet\"", "holds a blank"},
                      BadBoot{"choice = \"restore\"\nkernel = \"/linux\"", "[boot] has no 'restore_from'"},
                      BadBoot{"choice = \"restore\"\nkernel = \"/linux\"\nrestore_from = \"dup://a/b\"",
                              "[boot] has no 'receive_disk'"},
                      BadBoot{"kernel = \"/linux\"\nrestore_from = \"/srv/images#web\"", "neither https://"},
                      BadBoot{"kernel = \"/linux\"\nrestore_from = \"dup://a/b quiet\"", "holds a blank"},
                      BadBoot{"report_to = \"http://a/reports\"", "is no https:// address"},
                      BadBoot{"report_to = \"https://a/b#c\"", "holds a character"},
                      BadBoot{"fallback = \"disk\"", "falls back to what has failed"},
                      BadBoot{"fallback = \"receive\"", "[boot] has no 'kernel'"},
                      BadBoot{"loadr = \"/a\"", "did you mean 'loader'?"}));

}  // namespace
}  // namespace dupengine::profiles
