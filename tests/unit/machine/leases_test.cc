// Leases of the source go; what users of this machine keep in the same folders stays.

#include "machine/leases.h"

#include <gmock/gmock.h>

#include <filesystem>
#include <fstream>

#include "base/error.h"
#include "tests/support/scratch.h"

namespace dupengine::machine {
namespace {

namespace fs = std::filesystem;
using testing::ElementsAre;
using testing::IsEmpty;
using testing::UnorderedElementsAre;

class Leases : public testing::Test {
  protected:
    void add(const std::string& path) const {
        fs::create_directories(fs::path(root + path).parent_path());
        std::ofstream(root + path) << "lease";
    }
    bool has(const std::string& path) const { return fs::exists(fs::symlink_status(root + path)); }

    const test::ScratchFolder folder;
    const std::string root = folder.file("root");
    void SetUp() override { fs::create_directories(root); }
};

TEST_F(Leases, OfEveryClientGoAndAreNamed) {
    const std::vector<std::string> leases = {"/var/lib/dhcp/dhclient.eth0.leases",
                                             "/var/lib/dhcp/dhclient6.leases",
                                             "/var/lib/dhclient/dhclient-eth0.lease",
                                             "/var/lib/NetworkManager/internal-1234-eth0.lease",
                                             "/run/systemd/netif/leases/2",
                                             "/var/lib/dhcpcd/eth0.lease",
                                             "/var/lib/dhcpcd/eth0.lease6",
                                             "/var/lib/dhcpcd/duid",
                                             "/var/lib/wicked/lease-eth0-dhcp-ipv4.xml"};
    for (const std::string& path : leases)
        add(path);
    EXPECT_THAT(drop_leases(root), testing::UnorderedElementsAreArray(leases));
    for (const std::string& path : leases)
        EXPECT_FALSE(has(path)) << path;
    EXPECT_THAT(drop_leases(root), IsEmpty());
}

TEST_F(Leases, ThatAServerGaveOutAndWhatElseIsThereStay) {
    for (const char* path :
         {"/var/lib/dhcp/dhcpd.leases", "/var/lib/dhcp/dhcpd6.leases", "/var/lib/NetworkManager/secret_key",
          "/var/lib/NetworkManager/timestamps", "/etc/dhclient.leases"}) {
        add(path);
        EXPECT_THAT(drop_leases(root), IsEmpty());
        EXPECT_TRUE(has(path)) << path;
    }
}

TEST_F(Leases, NoLinkLeadsOutOfTheSystem) {
    const std::string outside = folder.file("outside");
    fs::create_directories(outside);
    std::ofstream(outside + "/dhclient.leases") << "another machine's";
    fs::create_directories(root + "/var/lib");
    fs::create_symlink(outside, root + "/var/lib/dhcp");
    fs::create_symlink("../../../outside", root + "/var/lib/dhclient");
    EXPECT_THAT(drop_leases(root), IsEmpty());
    EXPECT_TRUE(fs::exists(outside + "/dhclient.leases"));
    // Inside of it one is followed: /var/lib may be elsewhere.
    add("/srv/dhcpcd/eth0.lease");
    fs::create_symlink("/srv/dhcpcd", root + "/var/lib/dhcpcd");
    EXPECT_THAT(drop_leases(root), ElementsAre("/var/lib/dhcpcd/eth0.lease"));
    EXPECT_FALSE(has("/srv/dhcpcd/eth0.lease"));
}

TEST_F(Leases, OnlyFilesGo) {
    fs::create_directories(root + "/var/lib/dhclient/old.leases");
    add("/var/lib/dhclient/eth0.leases");
    add("/precious");
    fs::create_symlink("/precious", root + "/var/lib/dhclient/link.leases");
    EXPECT_THAT(drop_leases(root), UnorderedElementsAre("/var/lib/dhclient/eth0.leases"));
    EXPECT_TRUE(has("/var/lib/dhclient/old.leases"));
    EXPECT_TRUE(has("/var/lib/dhclient/link.leases"));
    EXPECT_TRUE(has("/precious"));
    EXPECT_THROW(drop_leases(folder.file("nowhere")), Error);
}

}  // namespace
}  // namespace dupengine::machine
