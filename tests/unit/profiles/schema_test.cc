#include "profiles/schema.h"

#include <gmock/gmock.h>

#include "base/error.h"
#include "base/random.h"

namespace dupengine::profiles {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr const char* kNode = "schema = 1\nkind = \"node\"\nnode = \"web-1\"\n";
constexpr const char* kRole = "schema = 1\nkind = \"role\"\nrole = \"web\"\n";

std::vector<std::string> problems(const std::string& text) {
    std::vector<std::string> lines;
    for (const Problem& problem : check_profile(text, "p.toml").problems)
        lines.push_back(problem.text());
    return lines;
}

std::vector<std::string> node_problems(const std::string& more) {
    return problems(kNode + more);
}

TEST(Schema, ReadsEveryKeyThatItDocuments) {
    const Profile p = parse_profile(R"(
schema = 1
kind = "node"
generation = 42
node = "rack3-n07.example"
roles = ["base", "web"]
description = "third rack"
x-owner = { team = "storage" }
[identity]
hostname = "rack3-n07"
machine_id = { mode = "derive" }
ssh_host_keys = { mode = "derive", types = ["ed25519", "ecdsa"] }
random_seed = { mode = "regenerate" }
[storage]
disk_guid = "6ac27b4c-ab1c-4f36-8e0e-7d1a6e2c7b11"
part_guid = { mode = "regenerate" }
fs_uuid = { mode = "derive" }
swap_uuid = { mode = "ignore" }
[services]
enable = ["chrony", "fstrim.timer"]
disable = ["postfix.service"]
mask = ["ctrl-alt-del.target"]
[[host]]
address = "fd00::7"
names = ["gateway", "gw.example"]
[[user]]
name = "ops"
ssh_authorized_keys = ["ssh-ed25519 AAAAC3Nza ops@desk"]
[[file]]
path = "/etc/motd"
content = """
two
lines
"""
mode = "0600"
)",
                                    "p.toml");
    EXPECT_EQ(p.kind, Kind::kNode);
    EXPECT_EQ(p.generation, 42u);
    EXPECT_EQ(p.node, "rack3-n07.example");
    EXPECT_THAT(p.roles, ElementsAre("base", "web"));
    EXPECT_EQ(p.description, "third rack");
    EXPECT_EQ(p.hostname, (Item{Mode::kSet, "rack3-n07"}));
    EXPECT_EQ(p.machine_id, (Item{Mode::kDerive, ""}));
    EXPECT_EQ(p.ssh_host_keys, (SshHostKeys{Mode::kDerive, {"ed25519", "ecdsa"}}));
    EXPECT_EQ(p.random_seed.mode, Mode::kRegenerate);
    EXPECT_EQ(p.disk_guid, (Item{Mode::kSet, "6ac27b4c-ab1c-4f36-8e0e-7d1a6e2c7b11"}));
    EXPECT_EQ(p.part_guid.mode, Mode::kRegenerate);
    EXPECT_EQ(p.fs_uuid.mode, Mode::kDerive);
    EXPECT_EQ(p.swap_uuid.mode, Mode::kIgnore);
    EXPECT_THAT(p.services.enable, ElementsAre("chrony.service", "fstrim.timer"));
    EXPECT_THAT(p.services.disable, ElementsAre("postfix.service"));
    EXPECT_THAT(p.services.mask, ElementsAre("ctrl-alt-del.target"));
    EXPECT_THAT(p.hosts, ElementsAre(Host{"fd00::7", {"gateway", "gw.example"}}));
    EXPECT_THAT(p.users, ElementsAre(User{"ops", {"ssh-ed25519 AAAAC3Nza ops@desk"}}));
    EXPECT_THAT(p.files, ElementsAre(File{"/etc/motd", "two\nlines\n", 0600}));
}

TEST(Schema, NamesLineAndColumnOfAnUnknownKeyAndTheKeyThatWasMeant) {
    EXPECT_THAT(node_problems("[identity]\n  hostnam = \"a\"\n"),
                ElementsAre("p.toml:5:3: unknown key 'hostnam' in [identity]; did you mean 'hostname'?"));
    EXPECT_THAT(node_problems("rolls = []\n"),
                ElementsAre("p.toml:4:1: unknown key 'rolls'; did you mean 'roles'?"));
    EXPECT_THAT(node_problems("[network]\nmtu = 9000\n"), ElementsAre("p.toml:4:2: unknown key 'network'"));
    EXPECT_THAT(node_problems("[[file]]\npath = \"/a\"\ncontents = \"\"\n"),
                ElementsAre("p.toml:4:1: [[file]] needs a content",
                            "p.toml:6:1: unknown key 'contents' in [[file]]; did you mean 'content'?"));
}

TEST(Schema, LeavesPrivateKeysAloneEverywhere) {
    EXPECT_THAT(node_problems(
                    "x-a = 1\n[identity]\nx-b = 2\nmachine_id = { mode = \"derive\", x-why = 3 }\n[[file]]\n"
                    "x-c = []\npath = \"/a\"\ncontent = \"\"\n"),
                IsEmpty());
}

TEST(Schema, ShowsAllProblemsOfAFileAtOnceInTheirOrder) {
    EXPECT_THAT(problems("schema = 2\nkind = \"pet\"\nnode = \"-\"\n"),
                ElementsAre("p.toml:1:10: schema 2 is not known to this program; it knows 1",
                            "p.toml:2:8: kind 'pet' is not known; node and role are",
                            "p.toml:3:8: node '-' may not have a part that begins or ends with '-'"));
}

TEST(Schema, RefusesATextWithoutTheKeysThatSayWhatItIs) {
    EXPECT_THAT(problems(""), ElementsAre("p.toml:1:1: schema is missing, as in schema = 1",
                                          "p.toml:1:1: kind is missing, as in kind = \"node\"",
                                          "p.toml:1:1: node is missing, as in node = \"rack3-n07\""));
    EXPECT_THAT(problems("schema = 1\nkind = \"role\"\n"),
                ElementsAre("p.toml:1:1: role is missing, as in role = \"web\""));
}

TEST(Schema, SaysWhichModesAnItemTakes) {
    EXPECT_THAT(
        node_problems("[identity]\nmachine_id = { mode = \"keep\" }\n"),
        ElementsAre(
            "p.toml:5:23: machine_id has no mode 'keep' (to keep a value over every duplication, derive "
            "or set it); it takes set, derive, regenerate, remove, ignore"));
    EXPECT_THAT(
        node_problems("[identity]\nrandom_seed = { mode = \"derive\" }\n"),
        ElementsAre(HasSubstr("random_seed has no mode 'derive'; it takes regenerate, remove, ignore")));
    EXPECT_THAT(node_problems("[storage]\nfs_uuid = { mode = \"set\", value = \"x\" }\n"),
                ElementsAre(HasSubstr("it takes derive, regenerate, ignore"),
                            HasSubstr("unknown key 'value' in fs_uuid")));
}

TEST(Schema, RefusesItemsThatAreOnlyHalfGiven) {
    EXPECT_THAT(node_problems("[identity]\nmachine_id = {}\n"),
                ElementsAre(HasSubstr("machine_id needs a mode")));
    EXPECT_THAT(node_problems("[identity]\nmachine_id = { mode = \"set\" }\n"),
                ElementsAre(HasSubstr("mode \"set\" needs a value")));
    EXPECT_THAT(node_problems("[identity]\nhostname = { mode = \"ignore\", value = \"a\" }\n"),
                ElementsAre(HasSubstr("only mode \"set\" takes a value")));
    EXPECT_THAT(node_problems("[identity]\nmachine_id = 7\n"),
                ElementsAre("p.toml:5:14: machine_id must be a string or { mode = ... }, not an integer"));
}

struct BadCase {
    const char* text;
    const char* complaint;
};

class BadValues : public ::testing::TestWithParam<BadCase> {};

TEST_P(BadValues, AreRefusedWithTheReason) {
    EXPECT_THAT(node_problems(GetParam().text), ElementsAre(HasSubstr(GetParam().complaint)));
}

INSTANTIATE_TEST_SUITE_P(
    Schema, BadValues,
    ::testing::Values(
        BadCase{"generation = -1", "may not be negative"}, BadCase{"generation = 0", "begins with 1"},
        BadCase{"generation = \"1\"", "generation must be an integer, not a string"},
        BadCase{"roles = \"base\"", "roles must be an array of strings, not a string"},
        BadCase{"roles = [\"../etc\"]", "may hold letters, digits"},
        BadCase{"roles = [\"a..b\"]", "may not hold '..'"},
        BadCase{"roles = [\"a\", \"a\"]", "role 'a' is there twice"},
        BadCase{"roles = [1]", "must be a string"}, BadCase{"role = \"web\"", "belongs into a file of kind"},
        BadCase{"description = \"a\\nb\"", "must be one line"},
        BadCase{"identity = 1", "identity must be a table, written as [identity]"},
        BadCase{"[identity]\nhostname = \"a_b\"", "RFC 1123"},
        BadCase{"[identity]\nhostname = \"a..b\"", "parts of 1"},
        BadCase{"[identity]\nhostname = \"\"", "1 to 64"},
        BadCase{"[identity]\nmachine_id = \"0123\"", "32 hexadecimal digits"},
        BadCase{"[identity]\nmachine_id = \"0123456789ABCDEF0123456789ABCDEF\"", "in lower case"},
        BadCase{"[identity]\nmachine_id = \"00000000000000000000000000000000\"", "all zeros"},
        BadCase{"[identity]\nssh_host_keys = { mode = \"derive\", types = [\"rsa\"] }", "cannot be derived"},
        BadCase{"[identity]\nssh_host_keys = { mode = \"derive\", types = [\"dsa\"] }",
                "no type of host key"},
        BadCase{"[identity]\nssh_host_keys = { mode = \"derive\", types = [] }", "may not be empty"},
        BadCase{"[identity]\nssh_host_keys = \"derive\"", "must be { mode = ... }"},
        BadCase{"[storage]\ndisk_guid = \"6ac27b4c\\tab1c\"", "must be a GUID"},
        BadCase{"[storage]\ndisk_guid = \"00000000-0000-0000-0000-000000000000\"", "all zeros"},
        BadCase{"[services]\nenable = [\"a/b\"]", "may hold letters"},
        BadCase{"[services]\nenable = [\".service\"]", "nothing before its suffix"},
        BadCase{"[services]\nenable = [\"a\", \"a.service\"]", "there twice"},
        BadCase{"[services]\nenable = [\"a\"]\nmask = [\"a.service\"]", "enabled and disabled (or masked)"},
        BadCase{"[services]\nenabled = [\"a\"]", "did you mean 'enable'?"},
        BadCase{"[[host]]\naddress = \"1.2.3\"\nnames = [\"a\"]", "neither an IPv4 nor an IPv6"},
        BadCase{"[[host]]\naddress = \"1.2.3.4\"\nnames = []", "has no names"},
        BadCase{"[host]\naddress = \"1.2.3.4\"\nnames = [\"a\"]",
                "host must be written as [[host]], not a table"},
        BadCase{"[[user]]\nname = \"-x\"\nssh_authorized_keys = []", "may not begin with"},
        BadCase{"[[user]]\nname = \"ops\"\nssh_authorized_keys = [\"-----BEGIN OPENSSH PRIVATE KEY-----\"]",
                "is a private key"},
        BadCase{"[[user]]\nname = \"ops\"\nssh_authorized_keys = [\"ssh-ed25519 AAAA\\nssh-rsa AAAA\"]",
                "must be one line"},
        BadCase{"[[user]]\nname = \"ops\"\nssh_authorized_keys = [\"hello\"]", "authorized_keys(5)"},
        BadCase{"[[user]]\nname = \"a\"\nssh_authorized_keys = []\n[[user]]\nname = "
                "\"a\"\nssh_authorized_keys = []",
                "user 'a' was given already in line 5"},
        BadCase{"[[file]]\npath = \"etc/x\"\ncontent = \"\"", "must be absolute"},
        BadCase{"[[file]]\npath = \"/etc/../x\"\ncontent = \"\"", "may not hold '.' or '..'"},
        BadCase{"[[file]]\npath = \"/etc//x\"\ncontent = \"\"", "empty part"},
        BadCase{"[[file]]\npath = \"/\"\ncontent = \"\"", "empty part"},
        BadCase{"[[file]]\npath = \"/a\\u0000\"\ncontent = \"\"", "control character"},
        BadCase{"[[file]]\npath = \"/a\"\ncontent = \"\"\nmode = \"rw\"", "octal digits"},
        BadCase{"[[file]]\npath = \"/a\"\ncontent = \"\"\nmode = 644",
                "mode must be a string, not an integer"},
        BadCase{"[[file]]\npath = \"/a\"\ncontent = \"\"\n[[file]]\npath = \"/a\"\ncontent = \"\"",
                "file '/a' was given already in line 5"},
        BadCase{"[[file]]\npath = \"/a/b\"\ncontent = \"\"\n[[file]]\npath = \"/a\"\ncontent = \"\"",
                "file '/a/b' lies in '/a', which is a file too"},
        BadCase{"node = \"again\"", "p.toml:4:"}, BadCase{"[identity", "p.toml:4:"},
        BadCase{"a = \"\xff\"", "p.toml:4:"}));

TEST(Schema, RefusesARoleThatWouldMakeAllItsNodesTheSame) {
    EXPECT_THAT(
        problems(std::string(kRole) + "[identity]\nmachine_id = \"0123456789abcdef0123456789abcdef\"\n"),
        ElementsAre(HasSubstr("5:1: machine_id may not be set in a role")));
    EXPECT_THAT(problems(std::string(kRole) + "roles = [\"base\"]\ngeneration = 3\nnode = \"a\"\n"),
                ElementsAre(HasSubstr("roles do not name other roles"),
                            HasSubstr("generation does not belong"), HasSubstr("node does not belong")));
}

TEST(Schema, BoundsWhatAHostileTextCanCost) {
    EXPECT_THAT(problems(std::string(kTomlLimitBytes + 1, ' ')),
                ElementsAre(HasSubstr("larger than 512 KiB")));
    std::string deep = "a";
    for (int i = 0; i < 200'000; ++i)
        deep += ".a";
    EXPECT_THAT(problems(deep + " = 1"), ElementsAre(HasSubstr("more than 9 parts")));
    EXPECT_THAT(problems("[" + deep + "]"), ElementsAre(HasSubstr("more than 9 parts")));
    EXPECT_THAT(problems("a = " + std::string(200'000, '[')), ElementsAre(HasSubstr("p.toml:1:")));
    std::string units = "[services]\nenable = [";
    for (int i = 0; i < 50'000; ++i)
        units += fmt::format("\"u{}\",", i);
    EXPECT_THAT(node_problems(units + "]"), ElementsAre(HasSubstr("more than 1024 entries")));
    std::string many;
    for (int i = 0; i < 30'000; ++i)
        many += fmt::format("k{} = 1\n", i);
    EXPECT_EQ(problems(many).size(), 100u);
}

TEST(Schema, CountsDotsInKeysOnly) {
    const std::string dots(300, '.');
    EXPECT_THAT(node_problems("description = \"" + dots + "\"\n# " + dots +
                              "\nx-a = [1.5, 2.5, 3.5, 4.5, 5.5, 6.5, 7.5, "
                              "8.5, 9.5, 10.5]\nx-b = '" +
                              dots + "'\n[[file]]\npath = \"/a\"\ncontent = \"\"\"\n\\\" " + dots +
                              "\"\"\"\"\"\n[[file]]\npath = \"/b\"\ncontent = '''\n\" " + dots + "'''\n"),
                IsEmpty());
}

TEST(Schema, NeverPrintsWhatWouldMoveATerminalsCursor) {
    EXPECT_THAT(node_problems("\"\\u001b[2J\\u009b\" = 1\n"), ElementsAre("p.toml:4:1: unknown key '?[2J?'"));
}

TEST(Schema, TellsTheFirstProblemAndHowManyMore) {
    try {
        parse_profile("kind = \"node\"\n", "p.toml");
        FAIL() << "accepted";
    } catch (const Error& e) {
        EXPECT_EQ(e.code(), Code::kUsage);
        EXPECT_STREQ(e.what(), "p.toml:1:1: schema is missing, as in schema = 1 (and 1 more)");
    }
}

TEST(Schema, KeepsEverythingOverARoundTripThroughCanonicalText) {
    Profile p = parse_profile(kNode, "p.toml");
    p.generation = 7;
    p.roles = {"a", "b"};
    p.description = "quote \" backslash \\ \xc3\xa4";
    p.machine_id = {Mode::kSet, "0123456789abcdef0123456789abcdef"};
    p.ssh_host_keys = {Mode::kRegenerate, {"rsa"}};
    p.swap_uuid = {Mode::kRegenerate, ""};
    p.services.mask = {"a\\x2db.mount"};
    p.hosts = {{"10.0.0.1", {"a", "b"}}};
    p.users = {{"ops", {}}};
    p.files = {
        {"/a", "\n\"\"\" '''\r\n\ttab\\ \x01 end\n\n", 04755}, {"/b", "", 0}, {"/c", "one line \"", 0644}};
    EXPECT_EQ(parse_profile(to_toml(p), "again"), p) << to_toml(p);
    EXPECT_EQ(to_toml(parse_profile(to_toml(p), "again")), to_toml(p));
}

TEST(Schema, KeepsAnyFileContentOverARoundTrip) {
    constexpr std::uint64_t kSeed = 20260101;
    SeededRandom random(kSeed);
    static constexpr std::string_view kLetters = "a\"\\\n\r\t'#= \x7f\x01";
    for (int round = 0; round < 500; ++round) {
        Profile p = parse_profile(kNode, "p.toml");
        std::string content;
        for (std::uint64_t n = random.below(40); n > 0; --n)
            content += kLetters[random.below(kLetters.size())];
        p.files = {{"/a", content, 0644}};
        ASSERT_EQ(parse_profile(to_toml(p), "again"), p) << "seed " << kSeed << " round " << round << "\n"
                                                         << to_toml(p);
    }
}

}  // namespace
}  // namespace dupengine::profiles
