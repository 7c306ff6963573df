// A qemu-nbd that stands still is not waited for without end.

#include "image/foreign/nbd_connection.h"

#include <gmock/gmock.h>
#include <signal.h>
#include <unistd.h>

#include <filesystem>
#include <thread>

#include "base/child_program.h"
#include "base/fd.h"
#include "tests/support/becomes.h"
#include "tests/support/scratch.h"
#include "tests/support/tar_image.h"

namespace dupengine::image {
namespace {

using ::testing::HasSubstr;
using Patience = NbdConnection::Patience;
using std::chrono::milliseconds;

class NbdConnections : public ::testing::Test {
  protected:
    NbdConnections() {
        test::becomes([this] { return std::filesystem::exists(socket_); });
        connection_.emplace(socket_, "disk", Patience{});
    }
    ~NbdConnections() override { go_on(); }

    pid_t server() const { return std::stoi(read_file(pid_file_, Code::kInternal)); }
    void stand_still() const { ::kill(server(), SIGSTOP); }
    void go_on() const { ::kill(server(), SIGCONT); }
    // The code and text of what it throws.
    Error failure(const std::function<void()>& action) const {
        try {
            action();
        } catch (const Error& e) {
            return e;
        }
        ADD_FAILURE() << "nothing was thrown";
        return {Code::kInternal, ""};
    }

    // The last MiB is a hole.
    std::string make_disk() const {
        const std::string path = scratch_.file("disk");
        test::write_file(path, Bytes(8 * kMiB, std::byte{2}));
        std::filesystem::resize_file(path, 9 * kMiB);
        return path;
    }

    test::ScratchFolder scratch_;
    std::string socket_ = scratch_.file("socket"), pid_file_ = scratch_.file("pid");
    std::string disk_ = make_disk();
    ChildProgram program_{{"qemu-nbd", "--read-only", "--shared=4", "--persistent", "--format=raw",
                           "--pid-file=" + pid_file_, "--socket=" + socket_, disk_}};
    std::optional<NbdConnection> connection_;
    Bytes buffer_ = Bytes(kMiB, std::byte{1});
};

TEST_F(NbdConnections, ReadAndTellOfHoles) {
    EXPECT_EQ(connection_->size_bytes(), 9 * kMiB);
    connection_->read(kMiB, buffer_, {});
    EXPECT_TRUE(buffer_ == Bytes(kMiB, std::byte{2}));
    const NbdConnection::Map data = connection_->map({kMiB, 9 * kMiB}, {});
    EXPECT_THAT(data.data, ::testing::ElementsAre(block::Extent{kMiB, 8 * kMiB}));
    const NbdConnection::Map hole = connection_->map({8 * kMiB, 9 * kMiB}, {});
    EXPECT_EQ(hole.known, (block::Extent{8 * kMiB, 9 * kMiB}));
    EXPECT_TRUE(hole.data.empty());
    EXPECT_EQ(failure([&] { connection_->read(9 * kMiB, buffer_, {}); }).code(), Code::kSourceIo);
    EXPECT_NO_THROW(connection_->read(0, buffer_, {})) << "one bad question is not the end";
}

TEST_F(NbdConnections, GiveUpAtTheDeadlineAndAreClosedThen) {
    stand_still();
    const Error late = failure([&] { connection_->read(0, buffer_, {milliseconds(300)}); });
    EXPECT_EQ(late.code(), Code::kSourceIo);
    EXPECT_THAT(late.what(), HasSubstr("no answer"));
    const Bytes then = buffer_;
    go_on();
    ::usleep(100'000);
    EXPECT_EQ(failure([&] { connection_->read(0, buffer_, {}); }).code(), Code::kSourceIo);
    EXPECT_EQ(failure([&] { connection_->map({0, kMiB}, {}); }).code(), Code::kSourceIo);
    EXPECT_TRUE(buffer_ == then) << "an answer came when nobody waited for it";
}

TEST_F(NbdConnections, AreStoppedOnRequest) {
    std::stop_source stop;
    const Patience patience{std::chrono::hours(1),
                            [token = stop.get_token()] { return token.stop_requested(); }};
    stand_still();
    const std::jthread asker([&] {
        std::this_thread::sleep_for(milliseconds(100));
        stop.request_stop();
    });
    EXPECT_EQ(failure([&] { connection_->map({0, kMiB}, patience); }).code(), Code::kInterrupted);
    EXPECT_EQ(failure([&] { NbdConnection(socket_, "disk", patience); }).code(), Code::kInterrupted);
    EXPECT_EQ(failure([&] { NbdConnection(socket_, "disk", {milliseconds(300)}); }).code(), Code::kSourceIo);
}

TEST_F(NbdConnections, ToAProgramThatDiedFail) {
    ::kill(server(), SIGKILL);
    EXPECT_EQ(failure([&] { connection_->read(0, buffer_, {}); }).code(), Code::kSourceIo);
    EXPECT_EQ(failure([&] { NbdConnection(socket_, "disk", Patience{}); }).code(), Code::kSourceIo);
}

}  // namespace
}  // namespace dupengine::image
