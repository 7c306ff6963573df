// What a duplicate would say before it is somebody else: nothing of it may leave the machine, and a source
// that goes on must not feel more than a pause.

#include "machine/egress_gate.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <gmock/gmock.h>
#include <linux/bpf.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <csignal>
#include <fstream>
#include <thread>

#include "tests/support/network_lab.h"
#include "tests/support/scratch.h"

namespace dupengine {
namespace {

using namespace std::chrono_literals;
using machine::EgressGate;
using machine::OutsideDevice;
using test::connect_to;
using test::FrameWatch;
using test::in_own_network;
using test::ip;
using test::must_run;
using test::Outside;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;
using Clock = std::chrono::steady_clock;

// A veth has no hardware, so it is named.
std::vector<OutsideDevice> out0() {
    return {{machine::find_network_namespaces().front(), ::if_nametoindex("out0"), "out0"}};
}

template <typename Body>
std::string refusal_of(Body&& body) {
    try {
        body();
    } catch (const Error& e) {
        return e.what();
    }
    return "nothing was refused";
}

// To all, from 02:00:00:00:00:SENDER.
void send_raw_frame(const std::string& device, std::byte sender = std::byte{1}) {
    const Fd socket(::socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0));
    sockaddr_ll to{};
    to.sll_family = AF_PACKET;
    to.sll_ifindex = static_cast<int>(::if_nametoindex(device.c_str()));
    Bytes frame(60, std::byte{0xff});
    std::fill(frame.begin() + 6, frame.begin() + 12, std::byte{0});
    frame[6] = std::byte{2};
    frame[11] = sender;
    ::sendto(socket.get(), frame.data(), frame.size(), 0, reinterpret_cast<const sockaddr*>(&to), sizeof to);
}

// Returns when what was sent before has arrived, if it ever does.
void let_it_travel() {
    std::this_thread::sleep_for(150ms);
}

// Whatever a machine says, by all that it has: each makes at least one frame.
struct Speaker {
    Speaker() {
        ip({"link", "add", "inner0", "link", "out0", "address", "02:00:00:00:00:aa", "type", "macvlan",
            "mode", "bridge"});
        ip({"link", "set", "inner0", "up"});
    }
    void speak() {
        ip({"neighbour", "flush", "dev", "out0"});
        test::send_datagram("10.7.0.77", 9);  // ARP
        test::send_datagram("fd07::77", 9);   // neighbour discovery
        ip({"neighbour", "replace", "10.7.0.2", "lladdr", "02:00:00:00:00:02", "dev", "out0"});
        test::send_datagram("10.7.0.2", 9);  // UDP
        attempts.push_back(test::start_connecting("10.7.0.2", 9));
        send_raw_frame("out0");
        send_raw_frame("inner0", std::byte{0xaa});
        EXPECT_EQ(::send(established.get(), "x", 1, MSG_NOSIGNAL), 1);
    }
    std::vector<Fd> attempts;
    Fd established;
};

TEST(EgressGate, ClosedItLetsNoFrameLeaveTheMachine) {
    in_own_network([] {
        const Outside outside;
        Speaker speaker;
        EgressGate gate(out0());
        FrameWatch watch(outside);
        const Fd listener = [&] {
            const machine::InsideNamespace inside(outside.place());
            return test::listen_at("10.7.0.2", 5000);
        }();
        speaker.established = connect_to("10.7.0.2", 5000);
        gate.close();
        EXPECT_TRUE(gate.drain(1s));
        watch.take();
        speaker.speak();
        // Also what the machine answers to those who ask it.
        {
            const machine::InsideNamespace inside(outside.place());
            test::send_datagram("10.7.0.1", 9);
            const Fd attempt = test::start_connecting("fd07::1", 22);
            let_it_travel();
        }
        EXPECT_THAT(watch.take_senders(), IsEmpty());
        EXPECT_GE(gate.closed_frames(), 8u);
        gate.open();
        speaker.speak();
        let_it_travel();
        EXPECT_THAT(watch.take_senders(), testing::IsSupersetOf({"02:00:00:00:00:01", "02:00:00:00:00:aa"}))
            << "the test would not see a frame";
    });
}

// The peer's end: sends back what it gets.
class Echo {
  public:
    explicit Echo(const Outside& outside) {
        const machine::InsideNamespace inside(outside.place());
        listener_ = test::listen_at("10.7.0.2", 5000);
    }
    void start() {
        connection_ = test::accept_from(listener_);
        thread_ = std::thread([this] {
            char byte = 0;
            while (::recv(connection_.get(), &byte, 1, 0) == 1 &&
                   ::send(connection_.get(), &byte, 1, MSG_NOSIGNAL) == 1)
                continue;
        });
    }
    ~Echo() {
        ::shutdown(connection_.get(), SHUT_RDWR);
        if (thread_.joinable()) thread_.join();
    }

  private:
    Fd listener_, connection_;
    std::thread thread_;
};

TEST(EgressGate, AConnectionFeelsOneStallAndNoError) {
    in_own_network([] {
        const Outside outside;
        EgressGate gate(out0());
        Echo echo(outside);
        const Fd client = connect_to("10.7.0.2", 5000);
        echo.start();
        std::chrono::duration<double> closed{};
        std::atomic<bool> is_over{false};
        std::thread blackout([&] {
            std::this_thread::sleep_for(300ms);
            const auto begin = Clock::now();
            gate.close();
            std::this_thread::sleep_for(2s);
            gate.open();
            closed = Clock::now() - begin;
            std::this_thread::sleep_for(1s);
            is_over = true;
        });
        std::vector<double> stalls;
        while (!is_over) {
            const auto before = Clock::now();
            char byte = 'x';
            ASSERT_EQ(::send(client.get(), &byte, 1, MSG_NOSIGNAL), 1);
            ASSERT_EQ(::recv(client.get(), &byte, 1, 0), 1);
            const std::chrono::duration<double> took = Clock::now() - before;
            if (took > 800ms) stalls.push_back(took.count());
            std::this_thread::sleep_for(10ms);
        }
        blackout.join();
        ASSERT_EQ(stalls.size(), 1u);
        EXPECT_GT(stalls[0], 1.9) << "the gate was not closed";
        EXPECT_LT(stalls[0], closed.count() + 0.9) << "the pause of the source is longer than it has to be";
        testing::Test::RecordProperty("stall_seconds", std::to_string(stalls[0]));
        std::printf("a gate closed for 2 s: a stall of %.2f s\n", stalls[0]);
    });
}

// Classic BPF that returns TC_ACT_SHOT: drops everything.
void add_dropping_filter(const char* priority) {
    must_run({"tc", "filter", "add", "dev", "out0", "egress", "prio", priority, "handle", "0x2a", "bpf",
              "direct-action", "bytecode", "1,6 0 0 2"});
}

bool gets_through(FrameWatch& watch) {
    watch.take();
    send_raw_frame("out0");
    let_it_travel();
    return !watch.take().empty();
}

TEST(EgressGate, FiltersOfOthersWorkOnAndStay) {
    in_own_network([] {
        const Outside outside;
        FrameWatch watch(outside);
        must_run({"tc", "qdisc", "add", "dev", "out0", "clsact"});
        add_dropping_filter("10");
        {
            const EgressGate gate(out0());
            EXPECT_FALSE(gets_through(watch)) << "the gate lets others' filters out";
            must_run({"tc", "filter", "del", "dev", "out0", "egress", "prio", "10"});
            EXPECT_TRUE(gets_through(watch));
            add_dropping_filter("10");
        }
        EXPECT_THAT(must_run({"tc", "filter", "show", "dev", "out0", "egress"}),
                    testing::AllOf(HasSubstr("pref 10"), Not(HasSubstr("dupengine"))));
        EXPECT_THAT(must_run({"tc", "qdisc", "show", "dev", "out0"}), HasSubstr("clsact"));
    });
}

TEST(EgressGate, ItLeavesNothingBehindAndNothingOfOthersGoesWithIt) {
    in_own_network([] {
        const Outside outside;
        const std::string before = must_run({"tc", "qdisc", "show"});
        { const EgressGate gate(out0()); }
        EXPECT_EQ(must_run({"tc", "qdisc", "show"}), before);
        {
            const EgressGate gate(out0());
            add_dropping_filter("10");
        }
        EXPECT_THAT(must_run({"tc", "filter", "show", "dev", "out0", "egress"}), HasSubstr("pref 10"))
            << "somebody's filter was in our qdisc";
    });
}

TEST(EgressGate, ItStandsFirstOrSaysThatItDoesNot) {
    in_own_network([] {
        const Outside outside;
        FrameWatch watch(outside);
        must_run({"tc", "qdisc", "add", "dev", "out0", "clsact"});
        // Returns TC_ACT_OK: nobody behind it is asked.
        const std::vector<std::string> passing = {"tc",     "filter",        "add",      "dev",      "out0",
                                                  "egress", "prio",          "1",        "handle",   "0x2a",
                                                  "bpf",    "direct-action", "bytecode", "1,6 0 0 0"};
        must_run(passing);
        {
            EgressGate gate(out0());
            gate.close();
            EXPECT_FALSE(gets_through(watch)) << "who was first still is";
            gate.check(out0());
            must_run({"tc", "filter", "del", "dev", "out0", "egress", "prio", "1", "handle", "0x2a", "bpf"});
            must_run(passing);
            EXPECT_THAT(refusal_of([&] { gate.check(out0()); }),
                        HasSubstr("out0: another filter stands before the gate"));
        }
        must_run({"tc", "qdisc", "del", "dev", "out0", "clsact"});
        must_run({"tc", "qdisc", "add", "dev", "out0", "ingress"});
        EXPECT_THAT(refusal_of([] { const EgressGate gate(out0()); }),
                    HasSubstr("out0: has an ingress qdisc"));
        EXPECT_THAT(must_run({"tc", "qdisc", "show", "dev", "out0"}), HasSubstr("ingress"));
    });
}

TEST(EgressGate, ADeviceThatCameLaterIsNoticed) {
    in_own_network([] {
        const Outside outside;
        const EgressGate gate(out0());
        ip({"link", "add", "late0", "type", "veth", "peer", "name", "late1"});
        auto devices = out0();
        gate.check(devices);
        devices.push_back({devices[0].where, ::if_nametoindex("late0"), "late0"});
        EXPECT_THAT(refusal_of([&] { gate.check(devices); }),
                    HasSubstr("late0: came after the gate was put up"));
    });
}

int load_program(bpf_prog_type type, int result) {
    const bpf_insn program[] = {{BPF_ALU64 | BPF_MOV | BPF_K, BPF_REG_0, 0, 0, result},
                                {BPF_JMP | BPF_EXIT, 0, 0, 0, 0}};
    const Fd fd(bpf_prog_load(type, "other", "GPL", program, std::size(program), nullptr));
    return ::dup(fd.get());
}

// Kernels from 6.6 on ask such programs before all filters.
TEST(EgressGate, AProgramThatIsAskedBeforeAllFiltersIsRefused) {
    int major = 0, minor = 0;
    std::ifstream release("/proc/sys/kernel/osrelease");
    char dot = 0;
    release >> major >> dot >> minor;
    if (major < 6 || (major == 6 && minor < 6)) GTEST_SKIP() << "this kernel has no tcx";
    in_own_network([] {
        const Outside outside;
        constexpr auto kTcxEgress = static_cast<bpf_attach_type>(47);
        const Fd program(load_program(BPF_PROG_TYPE_SCHED_CLS, 0));
        const auto attach = [&] {
            return Fd(bpf_link_create(program.get(), static_cast<int>(::if_nametoindex("out0")), kTcxEgress,
                                      nullptr));
        };
        {
            const Fd link = attach();
            ASSERT_TRUE(link.valid());
            EXPECT_THAT(refusal_of([] { const EgressGate gate(out0()); }),
                        HasSubstr("1 tcx programs of others"));
        }
        EXPECT_THAT(must_run({"tc", "qdisc", "show", "dev", "out0"}), Not(HasSubstr("clsact")));
        const EgressGate gate(out0());
        const Fd link = attach();
        EXPECT_THAT(refusal_of([&] { gate.check(out0()); }), HasSubstr("1 tcx programs of others"));
    });
}

TEST(EgressGate, AProgramThatSendsFromTheDriverIsNamed) {
    in_own_network([] {
        const Outside outside;
        const EgressGate gate(out0());
        EXPECT_THAT(gate.ways_around(), IsEmpty());
        const Fd program(load_program(BPF_PROG_TYPE_XDP, XDP_PASS));
        ASSERT_EQ(bpf_xdp_attach(static_cast<int>(::if_nametoindex("out0")), program.get(), 0, nullptr), 0);
        EXPECT_THAT(gate.ways_around(), testing::ElementsAre(HasSubstr("out0: an XDP program")));
    });
}

// In another process, which says so and then stands still until it is killed.
class BesideUs {
  public:
    explicit BesideUs(const std::function<void()>& body) {
        int ends[2];
        EXPECT_EQ(::pipe(ends), 0);
        pid_ = ::fork();
        if (pid_ == 0) {
            body();
            if (::write(ends[1], "x", 1) == 1) ::pause();
            ::_exit(0);
        }
        char byte = 0;
        ::close(ends[1]);
        EXPECT_EQ(::read(ends[0], &byte, 1), 1) << "it died";
        ::close(ends[0]);
    }
    ~BesideUs() { kill(); }
    void kill() {
        if (pid_ < 0) return;
        ::kill(pid_, SIGKILL);
        ::waitpid(pid_, nullptr, 0);
        pid_ = -1;
    }

  private:
    pid_t pid_ = -1;
};

TEST(EgressGate, WhatADeadProcessLeftClosedIsTakenAway) {
    in_own_network([] {
        const Outside outside;
        FrameWatch watch(outside);
        BesideUs other([] { (new EgressGate(out0()))->close(); });
        EXPECT_FALSE(gets_through(watch));
        EXPECT_EQ(EgressGate::remove_leftovers(), 0u) << "its process lives";
        EXPECT_THAT(refusal_of([] { const EgressGate gate(out0()); }),
                    HasSubstr("another dupengine keeps the frames"));
        other.kill();
        EXPECT_FALSE(gets_through(watch)) << "the duplicate would speak when its process dies";
        EXPECT_EQ(EgressGate::remove_leftovers(), 1u);
        EXPECT_TRUE(gets_through(watch)) << "the source is cut off for ever";
        EXPECT_EQ(EgressGate::remove_leftovers(), 0u);
        // The next one needs nobody to clean up before it.
        BesideUs third([] { (new EgressGate(out0()))->close(); });
        third.kill();
        const EgressGate gate(out0());
        EXPECT_TRUE(gets_through(watch));
    });
}

TEST(EgressGate, AForkedChildClosesAndOpensItAndLeavesItStanding) {
    in_own_network([] {
        const Outside outside;
        FrameWatch watch(outside);
        auto gate = std::make_unique<EgressGate>(out0());
        const auto in_child = [&gate](const std::function<void()>& body) {
            const pid_t child = ::fork();
            if (child == 0) {
                body();
                gate.reset();
                ::_exit(0);
            }
            ::waitpid(child, nullptr, 0);
        };
        in_child([&gate] { gate->close(); });
        EXPECT_FALSE(gets_through(watch)) << "its word or its filter went with the child";
        in_child([&gate] { gate->open(); });
        EXPECT_TRUE(gets_through(watch));
        gate->close();
        in_child([&gate] { gate->remove(); });
        EXPECT_TRUE(gets_through(watch)) << "a duplicate whose parent is gone cannot take it down";
        EXPECT_THAT(must_run({"tc", "qdisc", "show", "dev", "out0"}), Not(HasSubstr("clsact")));
        gate.reset();
    });
}

TEST(EgressGate, TheChildHoldsItWhenItsParentIsKilled) {
    in_own_network([] {
        const Outside outside;
        FrameWatch watch(outside);
        int ends[2];
        ASSERT_EQ(::pipe(ends), 0);
        BesideUs parent([&] {
            const auto* gate = new EgressGate(out0());
            const_cast<EgressGate*>(gate)->close();
            if (::fork() == 0) {
                char byte = 0;
                ::close(ends[1]);
                if (::read(ends[0], &byte, 1) == 0) ::_exit(0);
            }
        });
        parent.kill();
        EXPECT_EQ(EgressGate::remove_leftovers(), 0u) << "the one that makes the duplicate lives";
        EXPECT_FALSE(gets_through(watch));
        ::close(ends[0]), ::close(ends[1]);
        const auto deadline = Clock::now() + 5s;
        while (EgressGate::remove_leftovers() == 0 && Clock::now() < deadline)
            std::this_thread::sleep_for(10ms);
        EXPECT_TRUE(gets_through(watch));
    });
}

TEST(EgressGate, AParentWhoseChildSealedItAndDiedLeavesItClosed) {
    in_own_network([] {
        const Outside outside;
        FrameWatch watch(outside);
        auto gate = std::make_unique<EgressGate>(out0());
        const auto in_child = [](const std::function<void()>& body) {
            const pid_t child = ::fork();
            if (child == 0) {
                body();
                ::_exit(0);
            }
            ::waitpid(child, nullptr, 0);
        };
        in_child([&gate] {
            gate->close();
            gate->seal();
            gate->open();
        });
        EXPECT_TRUE(gets_through(watch)) << "at the source";
        gate->close();
        EXPECT_TRUE(gate->open()) << "the seal went with that";
        in_child([&gate] {
            gate->close();
            gate->seal();
        });
        EXPECT_FALSE(gate->open()) << "this may be the duplicate";
        EXPECT_THAT(refusal_of([&gate] { gate->remove(); }), HasSubstr("was sealed by another process"));
        gate.reset();
        EXPECT_FALSE(gets_through(watch)) << "the duplicate speaks as the source";
        EXPECT_EQ(EgressGate::remove_leftovers(), 1u);
    });
}

TEST(EgressGate, WhatHadPassedBeforeItClosedIsWaitedFor) {
    in_own_network([] {
        const Outside outside;
        FrameWatch watch(outside);
        EgressGate gate(out0());
        const auto shape = [](const char* how, const char* rate) {
            must_run({"tc", "qdisc", how, "dev", "out0", "root", "tbf", "rate", rate, "burst", "1600",
                      "limit", "100000"});
        };
        shape("add", "8kbit");  // about 17 frames of 60 bytes a second
        for (int i = 0; i < 300; ++i)
            send_raw_frame("out0");
        gate.close();
        EXPECT_FALSE(gate.drain(100ms)) << "the duplicate would send what is in the queue";
        shape("change", "100mbit");
        EXPECT_TRUE(gate.drain(10s));
        let_it_travel();
        EXPECT_GE(watch.take().size(), 300u);
        std::this_thread::sleep_for(500ms);
        EXPECT_THAT(watch.take(), IsEmpty());
    });
}

TEST(EgressGate, WhetherThisKernelCanHaveOneIsTriedWhereNobodyIsHurt) {
    in_own_network([] {
        const Outside outside;
        const std::string before = must_run({"tc", "qdisc", "show"});
        EXPECT_EQ(EgressGate::obstacle(), "");
        EXPECT_EQ(must_run({"tc", "qdisc", "show"}), before);
        EXPECT_EQ(EgressGate::remove_leftovers(), 0u);
    });
}

}  // namespace
}  // namespace dupengine
