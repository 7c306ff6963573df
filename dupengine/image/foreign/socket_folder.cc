#include "image/foreign/socket_folder.h"

#include <fcntl.h>

#include <algorithm>
#include <array>

#include "block/open.h"

namespace dupengine::image {
namespace {

constexpr std::array kEnding{SIGINT, SIGTERM, SIGHUP, SIGQUIT};

bool is_ignored(int signal) {
    struct sigaction action {};
    return ::sigaction(signal, nullptr, &action) == 0 && action.sa_handler == SIG_IGN;
}

}  // namespace

HeldSignals::HeldSignals() {
    sigset_t held{};
    sigemptyset(&held);
    for (const int signal : kEnding)
        sigaddset(&held, signal);
    pthread_sigmask(SIG_BLOCK, &held, &before_);
}

HeldSignals::~HeldSignals() {
    pthread_sigmask(SIG_SETMASK, &before_, nullptr);
}

SocketFolder::SocketFolder()
    : folder_(temporary_place("/tmp"), "", Code::kRefused),
      fd_(open_path(folder_.path(), O_PATH | O_DIRECTORY | O_NOFOLLOW, Code::kRefused)) {}

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
