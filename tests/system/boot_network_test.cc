// `dupengine boot network`: a small system has the links that its machine's profile names, before anything
// else of that machine is there; links that somebody uses already stay.

#include <gmock/gmock.h>

#include <filesystem>

#include "tests/support/network_lab.h"
#include "tests/support/running.h"
#include "tests/support/scratch.h"

namespace dupengine {
namespace {

using test::in_own_network;
using test::ip;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

class BootNetwork : public ::testing::Test {
  protected:
    // A disk whose profile has these links, as their text.
    std::string make_disk(const std::string& links) {
        const std::string disk = scratch_.sparse_file(fmt::format("{}.img", ++disks_), 64 * kMiB),
                          text = scratch_.file("node.toml");
        write(text, "schema = 1\nkind = \"node\"\nnode = \"web-1\"\nroles = [\"lan\"]\n" + links);
        EXPECT_EQ(
            test::run_dupengine({"profile", "init", "--store", "partition:" + disk, "--from", text}).status,
            0);
        return disk;
    }
    static void write(const std::string& path, const std::string& text) {
        write_file_atomic(path, as_bytes(text), 0644, Code::kInternal);
    }
    RunResult run(const std::string& disk, std::vector<std::string> more = {}) {
        std::vector<std::string> argv = {"boot", "network", "--disk", disk, "--resolv-conf", resolv_conf_};
        argv.insert(argv.end(), more.begin(), more.end());
        return test::run_dupengine(argv);
    }
    std::string roles(const std::string& lan) {
        const std::string folder = scratch_.file("roles");
        std::filesystem::create_directories(folder);
        write(folder + "/lan.toml", "schema = 1\nkind = \"role\"\nrole = \"lan\"\n" + lan);
        return folder;
    }

    unsigned disks_ = 0;
    const test::ScratchFolder scratch_;
    const std::string resolv_conf_ = scratch_.file("resolv.conf");
};

constexpr const char* kLinks = R"(
[[link]]
name = "out0"
mac = "02:00:00:00:00:99"
addresses = ["10.7.0.9/24", "fd07::9/64"]
gateways = ["10.7.0.2"]
dns = ["10.7.0.53"]
mtu = 1400
[[link]]
name = "gone0"
dhcp = true
)";

TEST_F(BootNetwork, ALinkHasWhatTheProfileSays) {
    const std::string disk = make_disk(kLinks);
    in_own_network([&] {
        const test::Outside outside;
        ip({"address", "flush", "dev", "out0"});
        const RunResult seen = run(disk, {"--dry-run"});
        EXPECT_THAT(seen.out, HasSubstr("out0 has 10.7.0.9/24, fd07::9/64")) << seen.err;
        EXPECT_THAT(ip({"address", "show", "dev", "out0"}), Not(HasSubstr("10.7.0.9")));
        EXPECT_FALSE(std::filesystem::exists(resolv_conf_));
        const RunResult done = run(disk);
        EXPECT_EQ(done.status, 0) << done.err;
        EXPECT_THAT(done.out,
                    AllOf(HasSubstr("out0 has 10.7.0.9/24, fd07::9/64\n"), HasSubstr("gone0 is not there\n"),
                          HasSubstr("the role lan is not here")));
        EXPECT_THAT(ip({"address", "show", "dev", "out0"}),
                    AllOf(HasSubstr("10.7.0.9/24"), HasSubstr("fd07::9/64"), HasSubstr("02:00:00:00:00:99"),
                          HasSubstr("mtu 1400"), HasSubstr("state UP")));
        EXPECT_THAT(ip({"route", "show", "default"}), HasSubstr("via 10.7.0.2 dev out0"));
        EXPECT_EQ(read_file(resolv_conf_, Code::kInternal), "nameserver 10.7.0.53\n");
        const Fd server = [&] {
            const machine::InsideNamespace inside(outside.place());
            return test::listen_at("10.7.0.2", 7433);
        }();
        EXPECT_TRUE(test::connect_to("10.7.0.2", 7433).valid());
    });
}

TEST_F(BootNetwork, ALinkWithAnAddressIsLeftAlone) {
    const std::string disk = make_disk(kLinks);
    in_own_network([&] {
        const test::Outside outside;
        const std::string before = ip({"address", "show", "dev", "out0"});
        const RunResult done = run(disk);
        EXPECT_THAT(done.out, HasSubstr("out0 has an address already, and keeps it")) << done.err;
        EXPECT_EQ(ip({"address", "show", "dev", "out0"}), before);
    });
}

TEST_F(BootNetwork, ALinkThatCannotBeAsItShouldIsToldAndTheOthersAreSetUp) {
    const std::string lan = "[[link]]\nname = \"out0\"\naddresses = [\"10.7.0.9/24\"]\n";
    const std::string tun =
        "[[link]]\nname = \"tun0\"\nmac = \"02:00:00:00:00:99\"\naddresses = [\"10.8.0.9/24\"]\n";
    const std::string both = make_disk(lan + tun), one = make_disk(tun);
    in_own_network([&] {
        const test::Outside outside;
        ip({"address", "flush", "dev", "out0"});
        ip({"tuntap", "add", "dev", "tun0", "mode", "tun"});
        const RunResult done = run(both);
        EXPECT_EQ(done.status, 0) << done.err;
        EXPECT_THAT(done.out,
                    AllOf(HasSubstr("out0 has 10.7.0.9/24\n"), HasSubstr("tun0 was not set up: tun0: ")));
        EXPECT_EQ(run(one).status, 9) << "nothing was set up";
    });
}

TEST_F(BootNetwork, ARoleThatIsHereCountsToo) {
    const std::string disk = make_disk(""),
                      folder = roles("[[link]]\nname = \"out0\"\ndhcp = true\nmtu = 1300\n");
    in_own_network([&] {
        const test::Outside outside;
        ip({"address", "flush", "dev", "out0"});
        const RunResult without = run(disk);
        EXPECT_THAT(without.out, HasSubstr("the profile of web-1 names no links")) << without.err;
        const RunResult done = run(disk, {"--roles", folder});
        EXPECT_EQ(done.out, "out0 waits for DHCP\n") << done.err;
        EXPECT_THAT(ip({"link", "show", "dev", "out0"}), AllOf(HasSubstr("mtu 1300"), HasSubstr("state UP")));
    });
}

TEST_F(BootNetwork, NoProfileNoNetwork) {
    const RunResult refused = run(scratch_.sparse_file("bare.img", 8 * kMiB));
    EXPECT_EQ(refused.status, 3) << refused.out;
    EXPECT_THAT(refused.err, HasSubstr("has no profile partition"));
    const std::string disk = make_disk(kLinks);
    in_own_network([&] {
        const test::Outside outside;
        ip({"address", "flush", "dev", "out0"});
        ip({"link", "set", "out0", "down"});
        ip({"link", "set", "out0", "name", "lan0"});
        EXPECT_THAT(run(disk).out, HasSubstr("out0 is not there")) << "nothing else is given its address";
        EXPECT_THAT(ip({"-o", "address", "show", "dev", "lan0"}), IsEmpty());
    });
}

}  // namespace
}  // namespace dupengine
