// What a machine does before it has a system (bootloader_hooks/early/work), on a disk of ours and with a
// command line of ours: what it waits for, who takes over, and what follows. The boot scripts that lend it a
// network and a shell are tested in machines (tests/machine).

#include <fcntl.h>
#include <gmock/gmock.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <fstream>
#include <future>
#include <thread>

#include "tests/support/disk_image.h"
#include "tests/support/running.h"
#include "tests/support/test_pki.h"
#include "tests/system/assume_disk.h"

namespace dupengine {
namespace {

using namespace std::chrono_literals;
using ::testing::HasSubstr;
using ::testing::Not;

class EarlyBoot : public AssumeDisk {
  protected:
    // The keyboard is a pipe, what is on the screen a file.
    EarlyBoot() {
        write("host", "has_network() { [ -e " + folder.file("network") +
                          " ]; }\n"
                          "has_lease() { echo \"LEASE $1\"; [ -e " +
                          folder.file("lease") +
                          " ]; }\n"
                          "settle() { :; }\n"
                          "rescue_shell() { echo \"SHELL: $1\"; exit 7; }\n"
                          "start_anew() { echo ANEW; exit 0; }\n"
                          "switch_off() { echo OFF; exit 0; }\n"
                          "profile=" +
                          folder.file("given.toml") + "\n. " + test::source_folder() +
                          "/bootloader_hooks/early/work\n");
        std::filesystem::create_symlink(test::command(), folder.file("dupengine"));
        EXPECT_EQ(::mkfifo(folder.file("console").c_str(), 0600), 0);
    }
    ~EarlyBoot() override {
        stop_.request_stop();
        if (ended_.valid()) ended_.wait();
    }
    void write(const std::string& name, const std::string& content) {
        write_file_atomic(folder.file(name), as_bytes(content), 0644, Code::kInternal);
    }
    // Only this process and its children see another command line, another console and no keys of others.
    void start(const std::string& words, const std::string& variables = "ROOT= IP=dhcp") {
        write("cmdline", "quiet " + words + "\n");
        const std::string script = fmt::format(
            "cd {0} && mount --make-rprivate / && mount --bind cmdline /proc/cmdline && "
            "{{ [ -e /dev/console ] || mknod /dev/console c 5 1; }} && mount --bind console /dev/console && "
            "mount -t tmpfs tmpfs /run && export PATH={0}:$PATH && {1} "
            "&& "
            "exec sh host >screen 2>&1",
            folder.path(), variables.empty() ? ":" : "export " + variables);
        std::vector<std::string> argv = {"unshare", "--mount"};
        if (has_own_network_) argv.emplace_back("--net");
        argv.insert(argv.end(), {"sh", "-c", script});
        ended_ = std::async(std::launch::async,
                            [this, argv] { return run_program(argv, {.stop = stop_.get_token()}); });
    }
    std::string screen() const {
        std::ifstream file(folder.file("screen"));
        return {std::istreambuf_iterator<char>(file), {}};
    }
    void await(const std::string& text) const {
        for (int i = 0; i < 1200 && screen().find(text) == std::string::npos; ++i)
            std::this_thread::sleep_for(100ms);
        EXPECT_THAT(screen(), HasSubstr(text));
    }
    // Waits for somebody who reads.
    void press_enter() const {
        const Fd keyboard = open_path(folder.file("console"), O_RDWR, Code::kInternal);
        EXPECT_EQ(::write(keyboard.get(), "\n", 1), 1);
        await("SHELL");
    }
    int status() { return ended_.get().status; }
    std::string run(const std::string& words, const std::string& variables = "ROOT= IP=dhcp") {
        start(words, variables);
        status();
        return screen();
    }

    // A machine with the link lan0, and a disk whose profile says this of it.
    std::string make_disk_with_link(const std::string& link) {
        has_own_network_ = true;
        const std::string disk = folder.sparse_file("disk.img", 64 * kMiB);
        write("node.toml",
              "schema = 1\nkind = \"node\"\nnode = \"web-1\"\n[[link]]\nname = \"lan0\"\n" + link);
        test::must_run({test::command(), "profile", "init", "--store", "partition:" + disk, "--from",
                        folder.file("node.toml")});
        return disk;
    }
    static constexpr const char* kLan = "ROOT= IP= && ip link add lan0 type veth peer name lan1";

    std::stop_source stop_;
    std::future<RunResult> ended_;
    bool has_own_network_ = false;
};

TEST_F(EarlyBoot, WithoutAWordForItDoesNothing) {
    start("root=/dev/sda1");
    EXPECT_EQ(status(), 0);
    EXPECT_EQ(screen(), "");
}

TEST_F(EarlyBoot, ADiskWithoutAProfileGetsThatOfTheSmallSystemAndKeepsIt) {
    const test::GoldenDisk golden = test::make_golden_disk(folder, "disk.img");
    write("given.toml", kProfile);
    const test::LoopDevice loop(golden.path);
    const std::string words = "dupengine.assume dupengine.target=" + loop.path();
    const std::string first = run(words);
    EXPECT_THAT(first, HasSubstr(loop.path() + " has no profile, and gets that of the small system"));
    EXPECT_THAT(first, HasSubstr("is complete and has its role"));
    EXPECT_THAT(first, HasSubstr("ANEW"));
    write("given.toml", "schema = 1\nkind = \"node\"\nnode = \"web-2\"\n");
    EXPECT_THAT(run(words + " dupengine.then=poweroff"), HasSubstr("OFF"));
    EXPECT_THAT(screen(), Not(HasSubstr("web-2")));
    EXPECT_THAT(run(words + " dupengine.then=shell"), HasSubstr("to start anew: reboot -f"));
    const std::string own = run(words, "ROOT=" + loop.path() + "p3 IP=");
    EXPECT_THAT(own, HasSubstr("nothing to change"));
    EXPECT_THAT(own, HasSubstr("has its role, and starts"));
}

TEST_F(EarlyBoot, ANetworkThatDoesNotComeIsWaitedForUntilSomebodyTakesOver) {
    const test::LoopDevice loop(folder.sparse_file("disk.img", 8 * kMiB));
    start("dupengine.copy=https://server/store#web dupengine.target=" + loop.path());
    await("the network does not come up (ip=dhcp); again in 10 seconds (Enter: a shell)");
    press_enter();
    EXPECT_EQ(status(), 7);
    EXPECT_THAT(screen(), HasSubstr("no image was copied: the network does not come up"));
    EXPECT_THAT(screen(), HasSubstr("by hand:               dupengine copy --yes"));
}

constexpr const char* kAway = "dupengine.copy=http://10.9.0.1/store#web dupengine.target=";

TEST_F(EarlyBoot, TheProfileSaysWhichNetworkThereIsIfTheCommandLineDoesNot) {
    const test::LoopDevice loop(make_disk_with_link("addresses = [\"10.9.0.5/24\"]\n"));
    start(kAway + loop.path(), kLan);
    await("lan0, a link of the profile, has 10.9.0.5/24");
    await("is copied: " + loop.path());
    press_enter();
    EXPECT_EQ(status(), 7);
    EXPECT_THAT(screen(), Not(HasSubstr("LEASE")));
}

TEST_F(EarlyBoot, ALinkOfTheProfileThatAsksDhcpIsWaitedFor) {
    const test::LoopDevice loop(make_disk_with_link("dhcp = true\n"));
    start(kAway + loop.path(), kLan);
    await("LEASE lan0");
    await("the network does not come up (DHCP on lan0, as the profile says); again in 10 seconds");
    write("lease", "");
    await("is copied: " + loop.path());
    press_enter();
    EXPECT_EQ(status(), 7);
}

TEST_F(EarlyBoot, TheCommandLinesNetworkComesBeforeTheProfiles) {
    const test::LoopDevice loop(make_disk_with_link("addresses = [\"10.9.0.5/24\"]\n"));
    start(kAway + loop.path(), "ROOT= IP=dhcp && ip link add lan0 type veth peer name lan1");
    await("the network does not come up (ip=dhcp); again in 10 seconds");
    press_enter();
    EXPECT_EQ(status(), 7);
    EXPECT_THAT(screen(), Not(HasSubstr("10.9.0.5")));
}

// The firmware of this machine has no profile, so somebody else says what dupengine says then (node_role.h).
TEST_F(EarlyBoot, ADiskOfAnotherMachineIsNotWritten) {
    std::filesystem::remove(folder.file("dupengine"));
    write_file_atomic(
        folder.file("dupengine"),
        as_bytes(std::string_view(
            "#!/bin/sh\ncase $* in\n*--dry-run*) echo 'these are two machines' >&2 && exit 3 ;;\n"
            "copy*) echo WRITTEN ;;\nesac\n")),
        0755, Code::kInternal);
    const test::LoopDevice loop(folder.sparse_file("disk.img", 8 * kMiB));
    EXPECT_THAT(run(kAway + loop.path(), "ROOT= IP="),
                HasSubstr("no image was copied: these are two machines"));
    EXPECT_THAT(screen(), Not(HasSubstr("WRITTEN")));
}

TEST_F(EarlyBoot, SomebodyStopsACopyFromAMachineThatDoesNotAnswer) {
    // Takes the call, and says nothing.
    const Fd listening(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    const std::uint16_t port = test::free_port();
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    ASSERT_EQ(::bind(listening.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
    ASSERT_EQ(::listen(listening.get(), 4), 0);
    test::TestPki pki;
    const test::LoopDevice loop(folder.sparse_file("disk.img", 8 * kMiB));
    write("network", "");
    start(fmt::format("dupengine.copy=dup://127.0.0.1:{}/web dupengine.target={} dupengine.peers={}", port,
                      loop.path(), pki.enrol("target")));
    await("is copied: " + loop.path() + " (Enter: a shell)");
    press_enter();
    EXPECT_EQ(status(), 7);
    EXPECT_THAT(screen(), HasSubstr("somebody at the console stopped it"));
}

TEST_F(EarlyBoot, AMistakeEndsInAShellThatSaysWhatToType) {
    EXPECT_THAT(run("dupengine.nonsense"),
                HasSubstr("SHELL: dupengine: no other machine was received: nothing is known"));
    EXPECT_THAT(run("dupengine.assume"), HasSubstr("dupengine.target=DISK does not say which disk"));
    EXPECT_THAT(run("dupengine.shell"), HasSubstr("by hand:               dupengine copy SOURCE DISK"));
}

}  // namespace
}  // namespace dupengine
