#include "image/foreign/socket_folder.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdlib>
#include <filesystem>

#include "block/open.h"

namespace dupengine::image {
namespace {

constexpr std::array kEnding{SIGINT, SIGTERM, SIGHUP, SIGQUIT};

bool is_ignored(int signal) {
    struct sigaction action {};
    return ::sigaction(signal, nullptr, &action) == 0 && action.sa_handler == SIG_IGN;
}

}  // namespace

SocketFolder::SocketFolder() {
    const char* temporary = std::getenv("TMPDIR");
    path_ =
        fmt::format("{}/dupengine-XXXXXX", temporary != nullptr && *temporary != '\0' ? temporary : "/tmp");
    sigset_t held{};
    sigemptyset(&held);
    for (const int signal : kEnding)
        sigaddset(&held, signal);
    pthread_sigmask(SIG_BLOCK, &held, &before_);
    const bool made = ::mkdtemp(path_.data()) != nullptr;
    if (made) fd_ = Fd(::open(path_.c_str(), O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
    if (fd_.valid()) return;
    const int why = errno;
    if (made) ::rmdir(path_.c_str());
    pthread_sigmask(SIG_SETMASK, &before_, nullptr);
    throw_errno(Code::kRefused, why, "{}: no folder for a socket can be made there", path_);
}

SocketFolder::~SocketFolder() {
    std::error_code error;
    std::filesystem::remove_all(path_, error);
    pthread_sigmask(SIG_SETMASK, &before_, nullptr);
}

std::string SocketFolder::socket() const {
    return block::lasting_path(fd_.get()) + "/socket";
}

bool SocketFolder::is_to_end() const {
    sigset_t waiting{};
    ::sigpending(&waiting);
    return std::ranges::any_of(
        kEnding, [&](int signal) { return sigismember(&waiting, signal) == 1 && !is_ignored(signal); });
}

}  // namespace dupengine::image
