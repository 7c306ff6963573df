// Programs that take part through the client library, and others that only pretend to.

#include "machine/quiesce_sockets.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <poll.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <filesystem>
#include <functional>
#include <mutex>
#include <optional>
#include <thread>

#include "base/error.h"
#include "base/fd.h"
#include "client/quiesce.h"
#include "machine/quiesce_participants.h"
#include "tests/support/becomes.h"
#include "tests/support/scratch.h"

namespace dupengine::machine {
namespace {

namespace fs = std::filesystem;
using std::chrono::milliseconds;
using std::chrono::steady_clock;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

// A program with the client library, in a thread. What it was told: "prepare web1 dup://web2".
class Program {
  public:
    using Answer = std::function<int(const dupengine_quiesce_call&, char* why, std::size_t why_size)>;
    Program(const std::string& folder, const std::string& name, Answer answer = {})
        : answer_(std::move(answer)) {
        if (const int failed = dupengine_quiesce_open(&handle_, name.c_str(), folder.c_str()); failed != 0)
            throw_errno(Code::kInternal, failed, "{}", name);
        thread_ = std::jthread([this](const std::stop_token& ended) {
            pollfd polled{dupengine_quiesce_fd(handle_), POLLIN, 0};
            while (!ended.stop_requested())
                if (::poll(&polled, 1, 20) > 0) dupengine_quiesce_dispatch(handle_, on_call, this);
        });
    }
    ~Program() {
        thread_ = {};
        dupengine_quiesce_close(handle_);
    }
    Program(const Program&) = delete;
    Program& operator=(const Program&) = delete;

    std::vector<std::string> told() {
        const std::lock_guard lock(mutex_);
        return told_;
    }
    // Waits for something that a participant learns without being asked for an answer.
    std::vector<std::string> told_at_least(std::size_t count) {
        test::becomes([&] { return told().size() >= count; });
        return told();
    }

  private:
    static int on_call(void* self, const dupengine_quiesce_call* call, char* why, std::size_t why_size) {
        auto& program = *static_cast<Program*>(self);
        static constexpr const char* kWords[] = {"", "prepare", "resume-source", "resume-target", "abort"};
        {
            const std::lock_guard lock(program.mutex_);
            program.told_.push_back(fmt::format("{} {} {}", kWords[call->phase], call->node, call->target));
        }
        return program.answer_ ? program.answer_(*call, why, why_size) : 0;
    }

    Answer answer_;
    dupengine_quiesce* handle_ = nullptr;
    std::mutex mutex_;
    std::vector<std::string> told_;
    std::jthread thread_;
};

// Listens, and does with the first real connection what the test says.
class Pretender {
  public:
    Pretender(const std::string& path, std::function<void(int)> behave) : path_(path) {
        sockaddr_un address{};
        address.sun_family = AF_UNIX;
        std::memcpy(address.sun_path, path.data(), path.size());
        listener_ = Fd(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
        if (::bind(listener_.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0 ||
            ::listen(listener_.get(), 4) != 0)
            throw_errno(Code::kInternal, errno, "{}", path);
        thread_ = std::jthread([this, behave = std::move(behave)](const std::stop_token& ended) {
            pollfd polled{listener_.get(), POLLIN, 0};
            while (!ended.stop_requested()) {
                if (::poll(&polled, 1, 20) <= 0) continue;
                const Fd connection(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC));
                char text[2048];
                if (::recv(connection.get(), text, sizeof text, 0) <= 0) continue;  // only a look
                behave(connection.get());
                while (!ended.stop_requested())
                    std::this_thread::sleep_for(milliseconds(20));
            }
        });
    }
    ~Pretender() {
        thread_ = {};
        ::unlink(path_.c_str());
    }
    Pretender(const Pretender&) = delete;
    Pretender& operator=(const Pretender&) = delete;

  private:
    std::string path_;
    Fd listener_;
    std::jthread thread_;
};

void say(int connection, const std::string& text) {
    ::send(connection, text.data(), text.size(), MSG_NOSIGNAL);
}

class QuiesceSockets : public testing::Test {
  protected:
    QuiesceSockets() {
        fs::create_directory(places_.folder);
        ::chmod(places_.folder.c_str(), 0755);
    }
    std::unique_ptr<Quiesce> quiesce(milliseconds deadline = milliseconds(5'000)) {
        QuiesceOptions options;
        options.call_deadline = deadline;
        return std::make_unique<Quiesce>(find_sockets(places_).participants, options);
    }
    std::string veto(Quiesce& quiesce) {
        try {
            quiesce.prepare({"web1", "dup://web2"});
        } catch (const Error& e) {
            EXPECT_EQ(e.code(), Code::kRefused);
            return e.what();
        }
        ADD_FAILURE() << "it was prepared";
        return {};
    }
    std::string veto_of(const std::string& said) {
        const Pretender pretender(places_.folder + "/50-a.sock", [&](int fd) { say(fd, said); });
        return veto(*quiesce(milliseconds(500)));
    }

    test::ScratchFolder scratch_;
    SocketPlaces places_{.folder = scratch_.file("quiesce"), .owner = ::geteuid()};
};

TEST_F(QuiesceSockets, ProgramsAreToldWhatGoesOnAndNoneHasToRegister) {
    Program second(places_.folder, "50-b"), first(places_.folder, "10-a");
    const auto run = quiesce();
    for (int round = 0; round < 2; ++round) {
        run->prepare({"web1", "dup://web2"});
        EXPECT_EQ(run->resume_target("web2"), 0u);
    }
    for (Program* program : {&first, &second})
        EXPECT_THAT(program->told(), ElementsAre("prepare web1 dup://web2", "resume-target web2 dup://web2",
                                                 "prepare web1 dup://web2", "resume-target web2 dup://web2"));
}

TEST_F(QuiesceSockets, AVetoComesWithItsReasonAndTheOthersAreAborted) {
    Program first(places_.folder, "10-a");
    Program second(places_.folder, "50-b", [](const auto& call, char* why, std::size_t size) {
        std::strncpy(why, "a backup\nruns", size);
        return call.phase == DUPENGINE_PREPARE ? 1 : 0;
    });
    EXPECT_THAT(veto(*quiesce()), HasSubstr("is not ready to be duplicated: a backup;"));
    EXPECT_THAT(first.told(), ElementsAre("prepare web1 dup://web2", "abort web1 dup://web2"));
    EXPECT_THAT(second.told(), SizeIs(1));
}

TEST_F(QuiesceSockets, WhenDupengineDiesAProgramGoesOn) {
    Program program(places_.folder, "10-a");
    auto participants = find_sockets(places_).participants;
    ASSERT_EQ(participants.at(0)->call({Phase::kPrepare, {"web1", ""}, milliseconds(5'000)}).outcome,
              Outcome::kDone);
    participants.clear();  // the connection closes, and nothing was said
    EXPECT_THAT(program.told_at_least(2), ElementsAre("prepare web1 ", "abort web1 "));
}

TEST_F(QuiesceSockets, AProgramThatIsSlowIsNotWaitedForWhenAllIsCalledOff) {
    std::atomic<bool> is_over{false};
    Program program(places_.folder, "10-a", [&](const auto&, char*, std::size_t) {
        test::becomes([&] { return is_over.load(); });
        return 0;
    });
    const auto found = find_sockets(places_).participants;
    const auto begin = steady_clock::now();
    Call call{Phase::kPrepare, {"web1", ""}, std::chrono::minutes(10)};
    call.is_called_off = [&] { return steady_clock::now() - begin > milliseconds(200); };
    EXPECT_EQ(found.at(0)->call(call).outcome, Outcome::kLate);
    EXPECT_LT(steady_clock::now() - begin, milliseconds(60'000));
    is_over = true;
}

TEST_F(QuiesceSockets, AProgramThatIsLateIsAbortedWhenItIsReady) {
    Program program(places_.folder, "10-a", [](const auto& call, char*, std::size_t) {
        if (call.phase == DUPENGINE_PREPARE) std::this_thread::sleep_for(milliseconds(700));
        return 0;
    });
    EXPECT_THAT(veto(*quiesce(milliseconds(400))), HasSubstr("it did not answer in 0.4 s"));
    EXPECT_THAT(program.told_at_least(2), ElementsAre("prepare web1 dup://web2", "abort web1 dup://web2"));
}

TEST_F(QuiesceSockets, AProgramThatEndsBetweenPrepareAndThePauseIsAVeto) {
    auto program = std::make_unique<Program>(places_.folder, "10-a");
    Program last(places_.folder, "50-b", [&](const auto& call, char*, std::size_t) {
        if (call.phase == DUPENGINE_PREPARE) program.reset();
        return 0;
    });
    EXPECT_THAT(veto(*quiesce()), HasSubstr("10-a"));
    EXPECT_THAT(last.told(), SizeIs(2));
}

TEST_F(QuiesceSockets, AProgramThatEndsDuringThePauseIsReported) {
    auto program = std::make_unique<Program>(places_.folder, "10-a");
    Program other(places_.folder, "05-b");
    const auto run = quiesce();
    run->prepare({"web1", ""});
    program.reset();
    EXPECT_EQ(run->resume_source(), 1u);
    EXPECT_THAT(other.told(), ElementsAre("prepare web1 ", "resume-source web1 "));
}

TEST_F(QuiesceSockets, OneNameIsOfOneProgramAndAPlaceLeftBehindIsTaken) {
    auto program = std::make_unique<Program>(places_.folder, "10-a");
    EXPECT_THROW(Program(places_.folder, "10-a"), Error);
    program.reset();
    EXPECT_FALSE(fs::exists(places_.folder + "/10-a.sock"));
    {
        const Fd died(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
        sockaddr_un address{};
        address.sun_family = AF_UNIX;
        std::strncpy(address.sun_path, (places_.folder + "/10-a.sock").c_str(), sizeof address.sun_path - 1);
        ASSERT_EQ(::bind(died.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
    }
    FoundSockets found = find_sockets(places_);
    EXPECT_THAT(found.participants, IsEmpty());
    ASSERT_THAT(found.ignored, SizeIs(1));
    EXPECT_EQ(found.ignored[0].why, "nobody listens any more");
    Program next(places_.folder, "10-a");
    EXPECT_THAT(find_sockets(places_).participants, SizeIs(1));
}

// It needs no right to write there. A program that waited for him would not start.
TEST_F(QuiesceSockets, WhoLocksTheFolderKeepsNoProgramWaiting) {
    std::optional<Fd> locked(open_path(places_.folder, O_RDONLY | O_DIRECTORY, Code::kInternal));
    ASSERT_EQ(::flock(locked->get(), LOCK_EX), 0);
    const auto begin = std::chrono::steady_clock::now();
    dupengine_quiesce* handle = nullptr;
    EXPECT_EQ(dupengine_quiesce_open(&handle, "50-a", places_.folder.c_str()), EBUSY);
    EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(30));
    const std::jthread soon([&] {
        std::this_thread::sleep_for(std::chrono::milliseconds(200));
        locked.reset();
    });
    ASSERT_TRUE(
        test::becomes([&] { return dupengine_quiesce_open(&handle, "50-a", places_.folder.c_str()) == 0; }));
    dupengine_quiesce_close(handle);
}

TEST_F(QuiesceSockets, BadNamesAndLongFoldersAreRefusedByTheLibrary) {
    dupengine_quiesce* handle = nullptr;
    for (const char* name : {"", "db", "5-db", "50-", "50-a/b", "50-a.b", "5a-db"})
        EXPECT_EQ(dupengine_quiesce_open(&handle, name, places_.folder.c_str()), EINVAL) << name;
    EXPECT_EQ(dupengine_quiesce_open(&handle, "50-a", std::string(200, 'x').c_str()), ENAMETOOLONG);
    EXPECT_EQ(dupengine_quiesce_open(&handle, "50-a", scratch_.file("none").c_str()), ENOENT);
    EXPECT_EQ(handle, nullptr);
}

TEST_F(QuiesceSockets, OneThatSaysNothingOrNonsenseIsAVeto) {
    const auto begin = steady_clock::now();
    const Pretender pretender(places_.folder + "/50-a.sock", [](int) {});
    EXPECT_THAT(veto(*quiesce(milliseconds(300))), HasSubstr("did not answer in 0.3 s"));
    EXPECT_LT(steady_clock::now() - begin, milliseconds(60'000));
}

TEST_F(QuiesceSockets, WhatIsNotUnderstoodIsAVeto) {
    EXPECT_THAT(veto_of("yes"), HasSubstr("not understood"));
    EXPECT_THAT(veto_of("1 okay"), HasSubstr("not understood"));
    EXPECT_THAT(veto_of(std::string(100'000, '1')), HasSubstr("its answer has 100000 bytes"));
    EXPECT_THAT(veto_of("1 no \x1b[2J"), HasSubstr("duplicated: [2J;"));
}

TEST_F(QuiesceSockets, OneThatTalksWithoutEndIsAVeto) {
    const Pretender pretender(places_.folder + "/50-a.sock", [](int fd) {
        for (int i = 0; i < 100; ++i)
            say(fd, "0 ok");
    });
    EXPECT_THAT(veto(*quiesce()), HasSubstr("answers what was not asked"));
}

TEST_F(QuiesceSockets, ProgramsLetNobodyConnectButRoot) {
    const Program program(places_.folder, "10-a");
    struct stat status {};
    ASSERT_EQ(::stat((places_.folder + "/10-a.sock").c_str(), &status), 0);
    EXPECT_EQ(status.st_mode & 0777, 0600u);
}

TEST_F(QuiesceSockets, AFolderThatEverybodyMayWriteIsRefused) {
    ::chmod(places_.folder.c_str(), 01777);
    EXPECT_THROW(find_sockets(places_), Error);
    ::chmod(places_.folder.c_str(), 0775);
    EXPECT_NO_THROW(find_sockets(places_));
    places_.owner += 1;
    EXPECT_THROW(find_sockets(places_), Error);
}

TEST_F(QuiesceSockets, ALinkToASocketElsewhereIsNotFollowed) {
    fs::create_directory(scratch_.file("elsewhere"));
    Program program(places_.folder, "10-a"), other(scratch_.file("elsewhere"), "50-b");
    const auto run = quiesce();
    fs::rename(places_.folder + "/10-a.sock", places_.folder + "/11-a.sock");
    fs::create_symlink(scratch_.file("elsewhere/50-b.sock"), places_.folder + "/10-a.sock");
    veto(*run);
    EXPECT_THAT(other.told(), IsEmpty());
    EXPECT_THAT(find_sockets(places_).ignored, SizeIs(1));
}

TEST_F(QuiesceSockets, OtherFilesAreSaidAndTooManyRefused) {
    const Fd file = open_path(places_.folder + "/10-a.sock", O_CREAT | O_WRONLY, Code::kInternal);
    EXPECT_EQ(find_sockets(places_).ignored.at(0).why, "it is no socket");
    for (std::size_t i = 0; i < kMaxSockets; ++i)
        open_path(fmt::format("{}/x{}", places_.folder, i), O_CREAT | O_WRONLY, Code::kInternal);
    EXPECT_THROW(find_sockets(places_), Error);
}

TEST_F(QuiesceSockets, HooksAndProgramsHaveOneOrderAndOfTwoWithOneNameTheHookIsFirst) {
    HookPlaces hooks{.folders = {scratch_.file("hooks")}, .owner = ::geteuid()};
    fs::create_directory(hooks.folders[0]);
    ::chmod(hooks.folders[0].c_str(), 0755);
    for (const char* name : {"10-a", "50-b"}) {
        const Fd file = open_path(hooks.folders[0] + "/" + name, O_CREAT | O_WRONLY, Code::kInternal, 0755);
        ::fchmod(file.get(), 0755);
    }
    Program program(places_.folder, "50-b"), last(places_.folder, "20-c");
    std::vector<std::string> order;
    FoundParticipants found = find_participants(hooks, places_);
    for (const auto& participant : found.participants)
        order.push_back(fs::path(participant->where()).lexically_relative(scratch_.path()).string());
    EXPECT_THAT(order, ElementsAre("hooks/10-a", "quiesce/20-c.sock", "hooks/50-b", "quiesce/50-b.sock"));
    EXPECT_NO_THROW(require_callable(found));
    ::chmod((hooks.folders[0] + "/10-a").c_str(), 0644);
    EXPECT_THROW(require_callable(find_participants(hooks, places_)), Error);
}

}  // namespace
}  // namespace dupengine::machine
