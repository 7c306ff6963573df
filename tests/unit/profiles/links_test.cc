// [[link]]: from the profile's text to the files of what manages the network.

#include <gmock/gmock.h>

#include "base/error.h"
#include "profiles/items/interfaces_file.h"
#include "profiles/items/item.h"
#include "profiles/merge.h"
#include "profiles/names.h"
#include "profiles/schema.h"
#include "tests/support/fake_system.h"

namespace dupengine::profiles {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

constexpr const char* kHead = "schema = 1\nkind = \"node\"\nnode = \"web-1\"\n";
constexpr const char* kFull = R"(
[[link]]
name = "ens3"
mac = "52:54:00:12:34:56"
addresses = ["10.0.0.5/24", "10.0.0.6/24", "2001:db8::5/64"]
gateways = ["10.0.0.1", "fe80::1"]
dns = ["10.0.0.53"]
mtu = 9000
[[link]]
name = "ens4"
mac = { mode = "derive" }
dhcp = true
up = false
)";

std::string problem_of(const std::string& text) {
    const CheckedProfile checked = check_profile(text, "p.toml");
    return checked.problems.empty() ? "" : checked.problems.front().text();
}
std::string problem_of_link(const std::string& text) {
    return problem_of(kHead + std::string("[[link]]\n") + text);
}

struct Stage {
    test::PowerCut power;
    test::MemoryTree files{power};
    Profile profile = parse_profile(kHead + std::string(kFull), "p.toml");
    NodeSecret secret{std::string(32, 's')};
    SeededRandom random{3};
    std::map<std::string, std::string> remembered;
    std::vector<std::string> notes;
    Staged staged{files};
    ItemContext context{profile, secret, staged, random, remembered, notes};

    std::string text(const std::string& path) { return read_text(staged, path); }
    void use_networkd() {
        files.add("/lib/systemd/system/systemd-networkd.service", "[Install]\nWantedBy=multi-user.target\n");
        files.add_link("/etc/systemd/system/multi-user.target.wants/systemd-networkd.service",
                       "/lib/systemd/system/systemd-networkd.service");
    }
    void use_ifupdown(const std::string& interfaces = "source /etc/network/interfaces.d/*\n") {
        files.add("/sbin/ifup", "");
        files.add("/etc/network/interfaces", interfaces);
    }
};

TEST(LinkSchema, EverythingThatIsWrittenIsReadAndWrittenAgain) {
    const Profile profile = parse_profile(kHead + std::string(kFull), "p.toml");
    ASSERT_EQ(profile.links.size(), 2u);
    EXPECT_EQ(profile.links[0].mac, (Item{Mode::kSet, "52:54:00:12:34:56"}));
    EXPECT_EQ(profile.links[0].mtu, 9000u);
    EXPECT_TRUE(profile.links[1].dhcp);
    EXPECT_FALSE(profile.links[1].up);
    EXPECT_EQ(parse_profile(to_toml(profile), "again"), profile);
}

TEST(LinkSchema, WhatCannotBeIsToldWithItsPlace) {
    EXPECT_THAT(problem_of_link("name = \"ens3\"\nmac = \"52:54:00:12:34:5G\"\n"),
                AllOf(HasSubstr("p.toml:6:"), HasSubstr("six pairs")));
    EXPECT_THAT(problem_of_link("name = \"ens3\"\nmac = \"01:00:5e:00:00:01\"\n"), HasSubstr("group"));
    EXPECT_THAT(problem_of_link("name = \"ens3\"\naddresses = [\"10.0.0.5\"]\n"), HasSubstr("length"));
    EXPECT_THAT(problem_of_link("name = \"ens3\"\naddresses = [\"10.0.0.5/33\"]\n"), HasSubstr("1 to 32"));
    EXPECT_THAT(problem_of_link("name = \"ens3\"\ndhcp = 1\n"), HasSubstr("true or false"));
    EXPECT_THAT(problem_of_link("name = \"ens3\"\nadresses = []\n"), HasSubstr("did you mean 'addresses'"));
    EXPECT_THAT(problem_of_link("name = \"a/b\"\n"), HasSubstr("letters"));
    EXPECT_THAT(problem_of_link("name = \"lo\"\n"), HasSubstr("no interface"));
    EXPECT_THAT(problem_of_link("mtu = 1500\n"), HasSubstr("1 to 15"));
    EXPECT_THAT(problem_of_link("name = \"ens3\"\nmtu = 10\n"), HasSubstr("from 68"));
    EXPECT_THAT(problem_of_link("name = \"ens3\"\ndhcp = true\naddresses = [\"10.0.0.5/24\"]\n"),
                HasSubstr("has dhcp"));
    EXPECT_THAT(problem_of_link("name = \"ens3\"\naddresses = [\"10.0.0.5/24\"]\ngateways = [\"fe80::1\"]\n"),
                HasSubstr("no address of its kind"));
    EXPECT_THAT(problem_of_link("name = \"ens3\"\n[[link]]\nname = \"ens3\"\n"), HasSubstr("already"));
}

TEST(LinkSchema, ARoleGivesNoTwoNodesTheSameAddress) {
    const std::string role = "schema = 1\nkind = \"role\"\nrole = \"web\"\n[[link]]\nname = \"ens3\"\n";
    EXPECT_THAT(problem_of(role + "mac = \"52:54:00:12:34:56\"\n"), HasSubstr("in a role"));
    EXPECT_THAT(problem_of(role + "addresses = [\"10.0.0.5/24\"]\n"), HasSubstr("in a role"));
    EXPECT_EQ(problem_of(role + "mac = { mode = \"derive\" }\ndhcp = true\n"), "");
}

TEST(LinkSchema, TheNodesOwnLinkReplacesThatOfARole) {
    const Layer role = parse_layer(
        "schema = 1\nkind = \"role\"\nrole = \"web\"\n[[link]]\nname = \"ens3\"\ndhcp = true\n", "web.toml");
    const Merged merged = merge(parse_layer(kHead + std::string(kFull), "p.toml"), {role});
    ASSERT_EQ(merged.profile.links.size(), 2u);
    EXPECT_FALSE(merged.profile.links[0].dhcp);
}

TEST(Links, ADerivedMacIsOfThisNodeAndLocallyAdministered) {
    const Profile profile = parse_profile(kHead + std::string(kFull), "p.toml");
    const auto links = wanted_links(profile, {std::string(32, 's')});
    EXPECT_EQ(mac_fault(links[1].mac), "");
    EXPECT_THAT(std::string("26ae"), HasSubstr(links[1].mac.substr(1, 1)));
    EXPECT_EQ(wanted_links(profile, {std::string(32, 's')}), links);
    EXPECT_NE(wanted_links(profile, {std::string(32, 't')})[1].mac, links[1].mac);
    EXPECT_EQ(links[0].mac, "52:54:00:12:34:56");
}

TEST(Links, AreConfiguredForNetworkdWhereThatIsEnabled) {
    Stage stage;
    stage.use_networkd();
    stage.use_ifupdown();
    stage_links(stage.context);
    EXPECT_EQ(stage.text("/etc/systemd/network/10-dupengine-ens3.network"),
              "[Match]\nName=ens3\n\n[Link]\nMACAddress=52:54:00:12:34:56\nMTUBytes=9000\n\n[Network]\n"
              "Address=10.0.0.5/24\nAddress=10.0.0.6/24\nAddress=2001:db8::5/64\nGateway=10.0.0.1\n"
              "Gateway=fe80::1\nDNS=10.0.0.53\n");
    EXPECT_THAT(stage.text("/etc/systemd/network/10-dupengine-ens4.network"),
                AllOf(HasSubstr("DHCP=yes"), HasSubstr("ActivationPolicy=down")));
    EXPECT_THAT(stage.staged.list("/etc/network/interfaces.d"), IsEmpty());
}

TEST(Links, AreConfiguredForIfupdownInsteadOfWhatItsFileSaysOfThem) {
    Stage stage;
    stage.use_ifupdown(
        "source /etc/network/interfaces.d/*\nauto lo ens3 \\\n  ens9\niface lo inet loopback\n# mine\n"
        "iface ens3 inet static\n    address 10.0.0.99/24\n    gateway 10.0.0.1\niface ens9 inet dhcp\n");
    stage_links(stage.context);
    const std::string own = stage.text("/etc/network/interfaces.d/dupengine-ens3");
    EXPECT_EQ(own,
              "auto ens3\niface ens3 inet static\n    address 10.0.0.5/24\n    hwaddress 52:54:00:12:34:56\n"
              "    mtu 9000\n    dns-nameservers 10.0.0.53\n    gateway 10.0.0.1\n"
              "iface ens3 inet static\n    address 10.0.0.6/24\n"
              "iface ens3 inet6 static\n    address 2001:db8::5/64\n    gateway fe80::1\n");
    EXPECT_THAT(stage.text("/etc/network/interfaces.d/dupengine-ens4"),
                AllOf(HasSubstr("iface ens4 inet dhcp"), Not(HasSubstr("auto"))));
    const std::string rest = stage.text("/etc/network/interfaces");
    EXPECT_THAT(rest, AllOf(HasSubstr("\nauto lo ens9\n"), HasSubstr("\niface ens9 inet dhcp\n"),
                            HasSubstr("\n# mine\n"), Not(HasSubstr("\niface ens3")),
                            Not(HasSubstr("\n    address"))));
    EXPECT_EQ(without_interface(rest, "ens3"), rest) << "a second run would change it again";
    EXPECT_THAT(stage.notes, ElementsAre(HasSubstr("resolvconf")));
}

TEST(Links, AreAConnectionOfNetworkManagerThatOnlyRootReads) {
    Stage stage;
    stage.files.add("/lib/systemd/system/NetworkManager.service", "[Install]\nWantedBy=multi-user.target\n");
    stage.files.add_link("/etc/systemd/system/multi-user.target.wants/NetworkManager.service",
                         "/lib/systemd/system/NetworkManager.service");
    stage_links(stage.context);
    const std::string path = "/etc/NetworkManager/system-connections/dupengine-ens3.nmconnection";
    EXPECT_EQ(stage.staged.look(path).mode, 0600u);
    EXPECT_THAT(stage.text(path),
                AllOf(HasSubstr("interface-name=ens3\nautoconnect=true\n"),
                      HasSubstr("cloned-mac-address=52:54:00:12:34:56\nmtu=9000\n"),
                      HasSubstr("[ipv4]\naddress1=10.0.0.5/24\naddress2=10.0.0.6/24\ngateway=10.0.0.1\n"
                                "method=manual\ndns=10.0.0.53;\n"),
                      HasSubstr("[ipv6]\naddress1=2001:db8::5/64\ngateway=fe80::1\nmethod=manual\n")));
}

TEST(Links, WithoutAnybodyToConfigureThemTheRoleIsRefused) {
    Stage stage;
    stage.use_ifupdown("auto lo\n");  // reads no folder
    try {
        stage_links(stage.context);
        FAIL() << "accepted";
    } catch (const Error& e) {
        EXPECT_EQ(e.code(), Code::kRefused);
        EXPECT_THAT(e.what(), HasSubstr("the link ens3"));
    }
}

TEST(Links, TheAddressesOfTheSourceDoNotStay) {
    Stage stage;
    stage.files.add("/etc/systemd/network/10-dupengine-ens3.network", "[Network]\nAddress=10.0.0.99/24\n");
    stage.files.add("/etc/systemd/network/20-wired.network", "somebody's\n");
    stage.profile.links.clear();
    stage_links(stage.context);
    EXPECT_THAT(stage.staged.list("/etc/systemd/network"), ElementsAre("20-wired.network"));
}

}  // namespace
}  // namespace dupengine::profiles
