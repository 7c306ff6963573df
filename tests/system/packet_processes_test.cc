// What thaws in a duplicate must not speak as the source: programs that make frames by themselves are ended.

#include "machine/packet_processes.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <gmock/gmock.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <csignal>
#include <cstring>
#include <functional>
#include <thread>

#include "tests/support/network_lab.h"
#include "tests/support/scratch.h"

namespace dupengine {
namespace {

using machine::EndedProcesses;
using machine::kill_packet_processes;
using test::in_own_network;
using test::ip;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::UnorderedElementsAre;

Fd packet_socket() {
    Fd socket(::socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, htons(ETH_P_ALL)));
    if (!socket.valid()) throw_errno(Code::kInternal, errno, "no packet socket");
    return socket;
}

// A program that has done `begin`, and waits then for its end.
class Program {
  public:
    Program(const char* name, const std::function<void()>& begin) {
        int ready[2];
        if (::pipe(ready) != 0) throw_errno(Code::kInternal, errno, "no pipe");
        pid_ = ::fork();
        if (pid_ == 0) {
            ::prctl(PR_SET_NAME, name);
            try {
                begin();
            } catch (const Error&) {
                ::_exit(1);
            }
            if (::write(ready[1], "x", 1) != 1) ::_exit(1);
            for (;;)
                ::pause();
        }
        ::close(ready[1]);
        char byte = 0;
        const bool is_ready = ::read(ready[0], &byte, 1) == 1;
        ::close(ready[0]);
        if (!is_ready) throw_error(Code::kInternal, "{} did not begin", name);
    }
    ~Program() {
        ::kill(pid_, SIGKILL);
        ::waitpid(pid_, nullptr, 0);
    }
    Program(const Program&) = delete;
    Program& operator=(const Program&) = delete;

    std::string text(const char* name) const { return fmt::format("{} ({})", name, pid_); }
    bool is_killed() const {
        siginfo_t info{};
        return ::waitid(P_PID, static_cast<id_t>(pid_), &info, WEXITED | WNOWAIT) == 0 &&
               info.si_status == SIGKILL;
    }
    bool is_there() const {
        siginfo_t info{};
        return ::waitid(P_PID, static_cast<id_t>(pid_), &info, WEXITED | WNOHANG | WNOWAIT) == 0 &&
               info.si_pid == 0;
    }

  private:
    pid_t pid_ = -1;
};

const auto kHoldsOne = [] { [[maybe_unused]] static const Fd socket = packet_socket(); };

TEST(PacketProcesses, WhoMakesFramesByHimselfIsEndedAndNobodyElse) {
    in_own_network([] {
        const Program sniffer("lldpd", kHoldsOne);
        const Program web("nginx",
                          [] { [[maybe_unused]] static const Fd socket = test::listen_at("127.0.0.1", 80); });
        const Program waiting("udhcpc", [] {});  // bound to its lease, it has no such socket
        const EndedProcesses report = kill_packet_processes();
        EXPECT_THAT(report.ended, UnorderedElementsAre(sniffer.text("lldpd"), waiting.text("udhcpc")));
        EXPECT_THAT(report.left, IsEmpty());
        EXPECT_TRUE(sniffer.is_killed());
        EXPECT_TRUE(waiting.is_killed());
        EXPECT_TRUE(web.is_there());
    });
}

TEST(PacketProcesses, ThoseInContainersAndAllWhoShareOneSocketAreEndedToo) {
    in_own_network([] {
        ip({"netns", "add", "container"});
        const Program inner("dhcp-helper", [] {
            const Fd where = open_path("/run/netns/container", O_RDONLY, Code::kInternal);
            if (::setns(where.get(), CLONE_NEWNET) != 0) throw_errno(Code::kInternal, errno, "setns");
            kHoldsOne();
        });
        const Program shared("first", [] {
            kHoldsOne();
            int ends[2];
            if (::pipe2(ends, O_CLOEXEC) != 0) ::_exit(1);
            char named = 0;
            if (::fork() == 0) {
                ::prctl(PR_SET_NAME, "second");
                [[maybe_unused]] const ssize_t written = ::write(ends[1], &named, 1);
                for (;;)
                    ::pause();
            }
            if (::read(ends[0], &named, 1) != 1) ::_exit(1);
        });
        const EndedProcesses report = kill_packet_processes();
        EXPECT_THAT(report.ended, UnorderedElementsAre(inner.text("dhcp-helper"), shared.text("first"),
                                                       HasSubstr("second (")));
        EXPECT_THAT(report.left, IsEmpty());
    });
}

TEST(PacketProcesses, OneThatOnlyAThreadHasIsFound) {
    in_own_network([] {
        const Program threaded("threaded", [] {
            std::atomic<bool>& has_it = *new std::atomic<bool>(false);
            std::thread([&has_it] {
                if (::unshare(CLONE_FILES) != 0) ::_exit(1);
                kHoldsOne();
                has_it = true;
                for (;;)
                    ::pause();
            }).detach();
            while (!has_it)
                std::this_thread::yield();
        });
        EXPECT_THAT(kill_packet_processes().ended, ElementsAre(threaded.text("threaded")));
        EXPECT_TRUE(threaded.is_killed());
    });
}

TEST(PacketProcesses, ASocketOfNobodyWhoIsSeenIsSaid) {
    in_own_network([] {
        int ends[2];
        ASSERT_EQ(::socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, ends), 0);
        const Fd near(ends[0]), far(ends[1]);
        {
            const Fd socket = packet_socket();
            char byte = 'x';
            iovec text{&byte, 1};
            alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {};
            msghdr message{};
            message.msg_iov = &text;
            message.msg_iovlen = 1;
            message.msg_control = control;
            message.msg_controllen = sizeof control;
            cmsghdr* header = CMSG_FIRSTHDR(&message);
            header->cmsg_level = SOL_SOCKET;
            header->cmsg_type = SCM_RIGHTS;
            header->cmsg_len = CMSG_LEN(sizeof(int));
            const int fd = socket.get();
            std::memcpy(CMSG_DATA(header), &fd, sizeof fd);
            ASSERT_EQ(::sendmsg(near.get(), &message, 0), 1);
        }
        const EndedProcesses report = kill_packet_processes();
        EXPECT_THAT(report.ended, IsEmpty());
        EXPECT_THAT(report.left, ElementsAre("1 packet socket of nobody who is seen"));
    });
}

}  // namespace
}  // namespace dupengine
