// The process that brings a whole machine to rest, on a made-up memory (tests/support/fake_memory.h) and a
// real disk: what it takes is of one moment, and whatever happens to it, the machine goes on.

#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <fstream>
#include <thread>

#include "base/copy_bytes.h"
#include "block/open.h"
#include "machine/disk_uses.h"
#include "machine/live_memory.h"
#include "machine/received_memory.h"
#include "tests/support/aged_filesystem.h"
#include "tests/support/becomes.h"
#include "tests/support/fake_memory.h"

namespace dupengine {
namespace {

using namespace std::chrono_literals;
using codec::kPageBytes;
using machine::MemoryGroup;
using test::must_run;

// What happens in the child is seen through memory that is shared with it.
struct Seen {
    std::atomic<int> gate_closed{0}, gate_opened{0}, prepared{0}, resumed{0}, aborted{0}, woken{0};
};

Seen& shared_seen() {
    void* room = ::mmap(nullptr, sizeof(Seen), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (room == MAP_FAILED) throw_errno(Code::kInternal, errno, "no memory");
    return *new (room) Seen;
}

class LiveProcessTest : public testing::Test {
  protected:
    static constexpr std::uint64_t kSize = 64 * kMiB;

    LiveProcessTest() {
        SeededRandom random(1);
        memory_.fill(random);
        must_run({"mkfs.ext4", "-q", loop_.path()});
        mount_.emplace(loop_.path(), folder_.file("root"));
        disk_ = block::open_source(loop_.path());
        hot_.emplace(*disk_, loop_.path(), machine::HotOptions{});
    }
    ~LiveProcessTest() override { ::munmap(&seen_, sizeof seen_); }

    machine::LiveOptions options() {
        machine::LiveOptions options;
        options.proc = memory_.proc();
        options.most_kept_pages = 16;
        options.look_at_uses = [this] { return machine::look_at_uses(loop_.path()); };
        options.prepare = [this] { ++seen_.prepared; };
        options.resume = [this](bool is_done) {
            ++(is_done ? seen_.resumed : seen_.aborted);
            return std::vector<std::string>{"a note"};
        };
        options.close_gate = [this] { ++seen_.gate_closed; };
        options.open_gate = [this] { ++seen_.gate_opened; };
        options.make_snapshot = [this] { return std::make_unique<test::FakeSnapshot>(memory_); };
        return options;
    }
    void write_file(const std::string& name) const {
        const Fd fd = open_path(folder_.file("root/" + name), O_WRONLY | O_CREAT, Code::kInternal);
        pwrite_exact(fd.get(), 0, as_bytes(std::string("some text")), Code::kInternal, name);
        if (::fsync(fd.get()) != 0) throw_errno(Code::kInternal, errno, "{}", name);
    }

    test::ScratchFolder folder_;
    test::LoopDevice loop_{folder_.sparse_file("disk.img", kSize)};
    std::optional<test::Mount> mount_;
    std::unique_ptr<block::Reader> disk_;
    std::optional<machine::HotDisk> hot_;
    test::FakeMemory memory_;
    Seen& seen_ = shared_seen();
};

// Takes groups until the answer is another one.
struct Taker {
    explicit Taker(machine::LiveMemory& live, machine::ReceivedMemory& received)
        : live_(live), received_(received) {}
    MemoryGroup::Kind take_all() {
        for (;;) {
            const MemoryGroup group = live_.group(next_);
            if (group.kind != MemoryGroup::Kind::kGroup) return group.kind;
            EXPECT_EQ(live_.group(next_).bytes, group.bytes) << "asked again it is another one";
            received_.apply(group.bytes);
            ++next_;
        }
    }
    machine::LiveMemory& live_;
    machine::ReceivedMemory& received_;
    std::uint32_t next_ = 0;
};

TEST_F(LiveProcessTest, MemoryAndDiskAreOfOneMoment) {
    machine::LiveProcess process(*hot_, options());
    machine::LiveMemory live(process, 10s);
    machine::ReceivedMemory received(process.shape());
    Taker taker(live, received);
    EXPECT_EQ(taker.take_all(), MemoryGroup::Kind::kNotYet) << "passes end, and no image was made";
    EXPECT_TRUE(live.wait_until_ready(1s, {}));
    memory_.scribble(1500, 9);
    write_file("before");
    const machine::AtRest rest = live.black_out();
    EXPECT_TRUE(rest.is_moment);
    EXPECT_EQ(rest.notes, std::vector<std::string>{"a note"});
    EXPECT_FALSE(rest.extents.empty()) << "what was written to the disk is missing";
    const bool holds_the_file = std::ranges::any_of(rest.held, [](const auto& kept) {
        return as_text(kept.second).find("some text") != std::string_view::npos;
    });
    EXPECT_TRUE(holds_the_file);
    write_file("after");  // the filesystem goes on
    const auto image = memory_.image();
    memory_.scribble(1501, 9);
    EXPECT_FALSE(live.is_all_given());
    EXPECT_EQ(taker.take_all(), MemoryGroup::Kind::kEnd);
    EXPECT_TRUE(live.is_all_given());
    received.check();
    std::vector<Bytes> rebuilt;
    for (Bytes page(kPageBytes); received.next_page(page);)
        rebuilt.push_back(page);
    EXPECT_EQ(rebuilt, image);
    EXPECT_EQ(seen_.prepared, 1);
    EXPECT_EQ(seen_.resumed, 1);
    EXPECT_EQ(seen_.gate_closed, 1);
    EXPECT_EQ(seen_.gate_opened, 1);
}

TEST_F(LiveProcessTest, AGroupThatIsNotNextIsRefused) {
    machine::LiveProcess process(*hot_, options());
    machine::LiveMemory live(process, 10s);
    EXPECT_EQ(live.group(0).kind, MemoryGroup::Kind::kGroup);
    for (const std::uint32_t number : {2u, 3u, 0xffffffffu})
        EXPECT_THROW(live.group(number), Error);
    EXPECT_EQ(live.group(0).kind, MemoryGroup::Kind::kGroup) << "asked again";
}

TEST_F(LiveProcessTest, WhoCannotBePreparedCallsItOffAndNothingPauses) {
    machine::LiveOptions with_veto = options();
    with_veto.prepare = [] { throw_error(Code::kRefused, "50-db is not ready"); };
    machine::LiveProcess process(*hot_, std::move(with_veto));
    try {
        process.black_out();
        FAIL() << "it paused";
    } catch (const Error& e) {
        EXPECT_EQ(e.code(), Code::kRefused);
        EXPECT_STREQ(e.what(), "50-db is not ready");
    }
    EXPECT_EQ(seen_.gate_closed, 0);
    write_file("file");
}

// An image of which the kernel gives no page.
class StuckSnapshot final : public machine::SnapshotMaker {
  public:
    void freeze() override {}
    bool create() override { return true; }
    bool next_page(std::span<std::byte>) override {
        for (;;)
            ::pause();
    }
    void free_image() noexcept override {}
    void thaw() noexcept override {}
};

TEST_F(LiveProcessTest, APauseThatDoesNotEndIsEndedAndTheMachineGoesOn) {
    machine::LiveOptions stuck = options();
    stuck.deadline = 300ms;
    stuck.make_snapshot = [] { return std::make_unique<StuckSnapshot>(); };
    machine::LiveProcess process(*hot_, std::move(stuck));
    const auto begin = std::chrono::steady_clock::now();
    EXPECT_THROW(process.black_out(), Error);
    EXPECT_LT(std::chrono::steady_clock::now() - begin, 5s);
    write_file("file");  // thawed, or this hangs
    EXPECT_GE(seen_.gate_opened, 1) << "this machine would be silent for ever";
}

class FailingSnapshot final : public machine::SnapshotMaker {
  public:
    void freeze() override {}
    bool create() override { throw_error(Code::kUnsupported, "no image of memory can be made"); }
    bool next_page(std::span<std::byte>) override { return false; }
    void free_image() noexcept override {}
    void thaw() noexcept override {}
};

TEST_F(LiveProcessTest, WithoutAnImageTheMachineGoesOnAndThoseWhoWerePreparedAreTold) {
    machine::LiveOptions failing = options();
    failing.make_snapshot = [] { return std::make_unique<FailingSnapshot>(); };
    machine::LiveProcess process(*hot_, std::move(failing));
    try {
        process.black_out();
        FAIL() << "it paused";
    } catch (const Error& e) {
        EXPECT_EQ(e.code(), Code::kUnsupported);
    }
    EXPECT_EQ(seen_.aborted, 1);
    EXPECT_EQ(seen_.gate_closed, seen_.gate_opened);
    write_file("file");
}

TEST_F(LiveProcessTest, OfACommandThatIsKilledNothingStays) {
    int ends[2];
    ASSERT_EQ(::pipe2(ends, O_CLOEXEC), 0);
    const Fd reading(ends[0]);
    Fd writing(ends[1]);
    const pid_t command = ::fork();
    if (command == 0) {
        const machine::LiveProcess process(*hot_, options());
        [[maybe_unused]] const ssize_t written = ::write(writing.get(), "x", 1);
        for (;;)
            ::pause();
    }
    writing = Fd();
    char ready = 0;
    ASSERT_EQ(::read(reading.get(), &ready, 1), 1);
    ::kill(command, SIGKILL);
    ::waitpid(command, nullptr, 0);
    EXPECT_EQ(::read(reading.get(), &ready, 1), 0) << "its process lives on";
}

// What calls the pause off when the gate should close.
TEST_F(LiveProcessTest, AGateThatDoesNotCloseCallsThePauseOffAndIsOpenAgain) {
    machine::LiveOptions leaking = options();
    leaking.close_gate = [this] {
        ++seen_.gate_closed;
        throw_error(Code::kRefused, "frames wait in a queue");
    };
    machine::LiveProcess process(*hot_, std::move(leaking));
    EXPECT_THROW(process.black_out(), Error);
    EXPECT_EQ(seen_.gate_opened, 1);
    EXPECT_EQ(seen_.aborted, 1);
    write_file("file");
}

TEST_F(LiveProcessTest, WhoWasPreparedIsToldWhenTheProcessDies) {
    machine::LiveOptions stuck = options();
    stuck.deadline = 300ms;
    stuck.make_snapshot = [] { return std::make_unique<StuckSnapshot>(); };
    stuck.abort_all = [this] { ++seen_.aborted; };
    machine::LiveProcess process(*hot_, std::move(stuck));
    EXPECT_THROW(process.black_out(), Error);
    EXPECT_EQ(seen_.aborted, 1);
}

// The kernel is at work while the deadline passes; nothing is ended before it is done.
class SlowSnapshot final : public machine::SnapshotMaker {
  public:
    explicit SlowSnapshot(Seen& seen) : seen_(seen) {}
    void freeze() override {}
    bool create() override {
        std::this_thread::sleep_for(600ms);
        ++seen_.woken;
        return true;
    }
    bool next_page(std::span<std::byte>) override { return false; }
    void free_image() noexcept override {}
    void thaw() noexcept override {}

  private:
    Seen& seen_;
};

TEST_F(LiveProcessTest, ADeadlineThatPassesWhileTheImageIsMadeCountsAfterwards) {
    machine::LiveOptions slow = options();
    slow.deadline = 200ms;
    slow.make_snapshot = [this] { return std::make_unique<SlowSnapshot>(seen_); };
    machine::LiveProcess process(*hot_, std::move(slow));
    EXPECT_THROW(process.black_out(), Error);
    EXPECT_EQ(seen_.woken, 1) << "it was ended while nobody could tell which machine it is";
    EXPECT_EQ(seen_.gate_closed, seen_.gate_opened - 1) << "by the process, and to be sure by the command";
    write_file("file");
}

// Becomes the other machine, as far as the process can tell.
class RestoredSnapshot final : public machine::SnapshotMaker {
  public:
    void freeze() override {}
    bool create() override { return false; }
    bool next_page(std::span<std::byte>) override { return false; }
    void free_image() noexcept override {}
    void thaw() noexcept override {}
};

TEST_F(LiveProcessTest, OnTheOtherMachineTheCommandEndsAndTheGateStaysAsItIs) {
    const pid_t command = ::fork();
    if (command == 0) {
        machine::LiveOptions restored = options();
        restored.make_snapshot = [] { return std::make_unique<RestoredSnapshot>(); };
        restored.on_wake = [this](machine::Awake& awake) {
            awake.thaw_kernel();
            awake.thaw_filesystems();
            awake.thaw_processes();
            ++seen_.woken;
        };
        machine::LiveProcess process(*hot_, std::move(restored));
        try {
            process.black_out();
        } catch (...) {
        }
        ::_exit(0);  // it went on as if it was the source
    }
    int status = 0;
    ::waitpid(command, &status, 0);
    EXPECT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL) << status;
    test::becomes([this] { return seen_.woken != 0; });
    EXPECT_EQ(seen_.woken, 1);
    EXPECT_EQ(seen_.gate_opened, 0);
    write_file("file");
}

// Has a FIFO open for writing, as the device is: whoever reads it sees when nobody has.
class HeldSnapshot final : public machine::SnapshotMaker {
  public:
    explicit HeldSnapshot(const std::string& fifo) : fd_(open_path(fifo, O_WRONLY, Code::kInternal)) {}
    void freeze() override {}
    bool create() override { return false; }
    bool next_page(std::span<std::byte>) override { return false; }
    void free_image() noexcept override {}
    void thaw() noexcept override {}

  private:
    Fd fd_;
};

// Processes that lost their parent.
std::vector<pid_t> adopted() {
    std::ifstream list(fmt::format("/proc/self/task/{}/children", ::getpid()));
    return {std::istream_iterator<pid_t>(list), {}};
}

std::string name_of(pid_t process) {
    std::ifstream file(fmt::format("/proc/{}/comm", process));
    std::string name;
    std::getline(file, name);
    return name;
}

TEST_F(LiveProcessTest, AWakeThatDiesLeavesTheDeviceOpenSoThatNothingIsThawed) {
    ::prctl(PR_SET_CHILD_SUBREAPER, 1);
    const std::string fifo = folder_.file("fifo");
    ASSERT_EQ(::mkfifo(fifo.c_str(), 0600), 0);
    const Fd reading(::open(fifo.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC));
    const pid_t command = ::fork();
    if (command == 0) {
        machine::LiveOptions dying = options();
        dying.make_snapshot = [&] { return std::make_unique<HeldSnapshot>(fifo); };
        dying.on_wake = [this](machine::Awake&) {
            ++seen_.woken;
            ::raise(SIGKILL);
        };
        machine::LiveProcess process(*hot_, std::move(dying));
        try {
            process.black_out();
        } catch (...) {
        }
        ++seen_.resumed;  // it went on as if it was the source
        ::_exit(0);
    }
    test::becomes([this] { return seen_.woken != 0; });
    std::this_thread::sleep_for(200ms);
    EXPECT_EQ(seen_.woken, 1);
    pollfd state{reading.get(), 0, 0};
    EXPECT_EQ(::poll(&state, 1, 0), 0) << "nobody has the device open: the kernel would thaw everything";
    EXPECT_EQ(seen_.resumed, 0);
    EXPECT_EQ(seen_.gate_opened, 0);
    ::kill(command, SIGKILL);
    ::waitpid(command, nullptr, 0);
    // The one that has it open is ended; the guardian thaws then, and ends by itself. The kernel's list may
    // leave out one while another ends, so it is asked until there is none.
    while (::waitpid(-1, nullptr, WNOHANG) >= 0) {
        for (const pid_t orphan : adopted())
            if (name_of(orphan) == "dupengine-live") ::kill(orphan, SIGKILL);
        std::this_thread::sleep_for(5ms);
    }
    ::prctl(PR_SET_CHILD_SUBREAPER, 0);
    EXPECT_EQ(::poll(&state, 1, 0), 1);
    write_file("file");
}

}  // namespace
}  // namespace dupengine
