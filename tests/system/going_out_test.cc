// A duplicate goes out on its links only when nothing that knows the source's addresses runs any more.

#include "cli/going_out.h"

#include <gmock/gmock.h>
#include <net/if.h>

#include "tests/support/network_lab.h"
#include "tests/support/scratch.h"

namespace dupengine::cli {
namespace {

using namespace std::chrono_literals;
using test::FrameWatch;
using test::in_own_network;
using test::ip;
using test::Outside;
using testing::Contains;
using testing::Each;
using testing::HasSubstr;
using testing::IsEmpty;
using Notes = std::vector<std::string>;

const machine::LinkSettings kOwn = {"out0", "02:00:00:00:00:99", {"10.7.0.9/24"}, {}, {}, true};

// As it is when all programs were thawed: the gate is closed, and its links are configured and down.
class ADuplicate {
  public:
    ADuplicate() {
        gate.close();
        for (const machine::NetworkDevice& device : machine::list_network_devices())
            if (device.name == "out0") machine::silence_devices({device});
        machine::configure_link(kOwn);
        watch.take();
    }
    static bool is_up() { return ip({"link", "show", "out0"}).find("state UP") != std::string::npos; }
    const Outside outside;
    machine::EgressGate gate{
        {{machine::find_network_namespaces().front(), ::if_nametoindex("out0"), "out0"}}};
    FrameWatch watch{outside};
};

TEST(GoingOut, WithItsOwnAddressWhenWhatManagesTheNetworkWasStartedAnew) {
    in_own_network([] {
        ADuplicate duplicate;
        Notes notes;
        EXPECT_TRUE(go_out({kOwn}, {{"true"}}, true, duplicate.gate, notes));
        EXPECT_THAT(notes, IsEmpty());
        test::send_datagram("10.7.0.2", 9);
        EXPECT_THAT(duplicate.watch.take_senders(), testing::ElementsAre("02:00:00:00:00:99"));
    });
}

// The manager gives the link what it knows of the source, and fails then.
TEST(GoingOut, NothingGoesOutIfThatFailed) {
    in_own_network([] {
        ADuplicate duplicate;
        Notes notes;
        const Call manager = {"sh", "-c",
                              "ip link set out0 address 02:00:00:00:00:01 && ip link set out0 up && "
                              "ip address add 10.7.0.1/24 dev out0; echo it hangs >&2; exit 1"};
        EXPECT_FALSE(go_out({kOwn}, {manager, {"true"}}, true, duplicate.gate, notes));
        EXPECT_THAT(notes, Contains(HasSubstr("exit status 1: it hangs")));
        EXPECT_THAT(notes, Contains("out0: stays down: what manages the network was not started anew"));
        EXPECT_FALSE(ADuplicate::is_up());
        EXPECT_THAT(ip({"-o", "address", "show", "dev", "out0"}), IsEmpty());
        ip({"link", "set", "out0", "up"});
        ip({"address", "add", "10.7.0.1/24", "dev", "out0"});
        test::send_datagram("10.7.0.2", 9);
        EXPECT_THAT(duplicate.watch.take(), IsEmpty()) << "the gate was left";
        EXPECT_GT(duplicate.gate.closed_frames(), 0u);
    });
}

TEST(GoingOut, AProgramThatIsNotThereIsNoneThatWasStartedAnew) {
    in_own_network([] {
        ADuplicate duplicate;
        Notes notes;
        EXPECT_FALSE(go_out({kOwn}, {{"no-such-manager"}}, true, duplicate.gate, notes));
        EXPECT_FALSE(ADuplicate::is_up());
        notes.clear();
        EXPECT_FALSE(go_out({kOwn}, {}, false, duplicate.gate, notes)) << "somebody could not be ended";
        EXPECT_FALSE(ADuplicate::is_up());
        EXPECT_THAT(notes, Each(HasSubstr("stays down")));
    });
}

TEST(GoingOut, ALinkThatIsNotThereDoesNotKeepTheOthersIn) {
    in_own_network([] {
        ADuplicate duplicate;
        Notes notes;
        machine::LinkSettings missing = kOwn;
        missing.name = "eth7";
        EXPECT_TRUE(go_out({missing, kOwn}, {}, true, duplicate.gate, notes));
        EXPECT_THAT(notes, testing::ElementsAre(HasSubstr("eth7: stays down")));
        EXPECT_TRUE(ADuplicate::is_up());
    });
}

}  // namespace
}  // namespace dupengine::cli
