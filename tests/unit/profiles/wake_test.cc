#include "profiles/wake.h"

#include <gmock/gmock.h>

#include "tests/support/fake_system.h"

namespace dupengine::profiles {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using Call = std::vector<std::string>;

class CallsAfterThaw : public ::testing::Test {
  protected:
    CallsAfterThaw() {
        for (const char* unit : {"web.service", "old.service", "noise.timer", "ssh.service"})
            tree.add(std::string("/lib/systemd/system/") + unit, "[Install]\nWantedBy=multi-user.target\n");
    }
    static Call systemctl(const char* verb, const char* unit) {
        return {"systemctl", "--no-block", verb, unit};
    }
    test::PowerCut power;
    test::MemoryTree tree{power};
    Profile profile;
};

TEST_F(CallsAfterThaw, WhatTheRoleEnablesRunsAndWhatItTurnsOffDoesNot) {
    profile.services = {{"web"}, {"old"}, {"noise.timer"}};
    EXPECT_THAT(calls_after_thaw(profile, tree, {{"services", "/etc/systemd/system/x", "", ""}}),
                ElementsAre(systemctl("stop", "old.service"), systemctl("stop", "noise.timer"),
                            Call{"systemctl", "daemon-reload"}, systemctl("start", "web.service")));
}

TEST_F(CallsAfterThaw, AUnitThatIsNotThereIsNotStopped) {
    profile.services.disable = {"elsewhere.service"};
    EXPECT_THAT(calls_after_thaw(profile, tree, {}), IsEmpty());
}

TEST_F(CallsAfterThaw, AServerDoesNotGoOnWithTheSourcesKeys) {
    EXPECT_THAT(calls_after_thaw(profile, tree, {{"ssh_host_keys", "/etc/ssh/ssh_host_ed25519_key", "", ""}}),
                ElementsAre(systemctl("try-restart", "ssh.service")));
}

TEST_F(CallsAfterThaw, WhatManagesTheNetworkForgetsTheSourceAlsoIfNoFileOfItChanged) {
    EXPECT_THAT(network_calls(profile, tree), IsEmpty()) << "there is none";
    tree.add("/lib/systemd/system/systemd-networkd.service", "[Install]\n");
    tree.add("/lib/systemd/system/NetworkManager.service", "[Install]\n");
    EXPECT_THAT(network_calls(profile, tree),
                ElementsAre(Call{"systemctl", "try-restart", "systemd-networkd.service"},
                            Call{"systemctl", "try-restart", "NetworkManager.service"}));
}

TEST_F(CallsAfterThaw, WhatTheRoleTurnsOffHasEndedBeforeAnyLinkGoesUp) {
    tree.add("/lib/systemd/system/systemd-networkd.service", "[Install]\n");
    tree.add("/lib/systemd/system/NetworkManager.service", "[Install]\n");
    profile.services.disable = {"systemd-networkd"};
    tree.add_link("/etc/systemd/system/NetworkManager.service", "/dev/null");
    EXPECT_THAT(network_calls(profile, tree),
                ElementsAre(Call{"systemctl", "stop", "systemd-networkd.service"},
                            Call{"systemctl", "stop", "NetworkManager.service"}));
}

TEST_F(CallsAfterThaw, ADhcpClientOfIfupdownIsStartedAgain) {
    profile.links.resize(2);
    profile.links[0].name = "ens3";
    profile.links[0].dhcp = true;
    profile.links[1].name = "ens4";
    EXPECT_THAT(calls_when_up(profile, tree), IsEmpty());
    tree.add("/etc/network/interfaces", "source /etc/network/interfaces.d/*\n");
    tree.add("/sbin/ifup", "");
    EXPECT_THAT(calls_when_up(profile, tree), ElementsAre(Call{"ifup", "--force", "ens3"}));
}

TEST_F(CallsAfterThaw, ANewUnitFileIsReadFirst) {
    profile.services.enable = {"web"};
    EXPECT_THAT(calls_after_thaw(profile, tree, {{"file", "/etc/systemd/system/web.service", "", ""}}),
                ElementsAre(Call{"systemctl", "daemon-reload"}, systemctl("start", "web.service")));
}

}  // namespace
}  // namespace dupengine::profiles
