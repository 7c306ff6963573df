#include "machine/frozen_filesystems.h"

#include <fcntl.h>
#include <linux/close_range.h>
#include <linux/fs.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <csignal>
#include <map>

#include "base/error.h"

namespace dupengine::machine {
namespace {

// What is said to the guardian.
constexpr char kWatch = 'w', kRest = 'r';

bool thaw_one(int fd) {
    return ::ioctl(fd, FITHAW, 0) == 0;
}

// All that the guardian needs, made before it is: it allocates nothing and calls nothing but the kernel, for
// it is a copy of a process with threads.
struct Watch {
    int socket = -1;
    int milliseconds = 0;
    const int* fds = nullptr;
    bool* frozen = nullptr;
    std::size_t count = 0;
};

void thaw_for_good(const Watch& watch) {
    for (std::size_t i = 0; i < watch.count; ++i)
        if (std::atomic_ref(watch.frozen[i]).exchange(false)) thaw_one(watch.fds[i]);
}

[[noreturn]] void guard(const Watch& watch) {
    ::setsid();
    for (const int signal : {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGPIPE})
        ::signal(signal, SIG_IGN);
    ::prctl(PR_SET_NAME, "dupengine-thaw");
    ::mlockall(MCL_CURRENT);
    bool is_watching = false;
    for (;;) {
        pollfd ready{watch.socket, POLLIN, 0};
        const int found = ::poll(&ready, 1, is_watching ? watch.milliseconds : -1);
        if (found < 0 && errno == EINTR) continue;
        char word = 0;
        if (found == 0) {
            thaw_for_good(watch);
            is_watching = false;
        } else if (::read(watch.socket, &word, 1) != 1) {
            thaw_for_good(watch);  // nobody is there any more
            ::_exit(0);
        } else {
            is_watching = word == kWatch;
        }
    }
}

// The guardian keeps no disk, lock or connection of its parent alive.
void close_all_but(std::vector<int> kept) {
    std::ranges::sort(kept);
    unsigned from = 0;
    for (const int fd : kept) {
        if (static_cast<unsigned>(fd) > from)
            ::syscall(SYS_close_range, from, static_cast<unsigned>(fd) - 1, 0);
        from = static_cast<unsigned>(fd) + 1;
    }
    ::syscall(SYS_close_range, from, ~0U, 0);
}

bool cannot_be_frozen(int error) {
    return error == EOPNOTSUPP || error == ENOTTY || error == EINVAL;
}

}  // namespace

FilesystemFreezer::FilesystemFreezer(std::vector<std::string> roots, std::chrono::milliseconds deadline)
    : deadline_(deadline) {
    std::map<dev_t, bool> seen;
    for (std::string& root : roots) {
        Fd fd = open_path(root, O_RDONLY | O_DIRECTORY, Code::kRefused);
        struct stat st {};
        if (::fstat(fd.get(), &st) != 0) throw_errno(Code::kRefused, errno, "{}", root);
        // One filesystem may be mounted in several places.
        if (seen.emplace(st.st_dev, true).second) filesystems_.push_back({std::move(root), std::move(fd)});
    }
    start_guardian();
}

FilesystemFreezer::~FilesystemFreezer() {
    thaw_all();
    guardian_ = Fd();
    if (guardian_pid_ > 0) ::waitpid(guardian_pid_, nullptr, 0);
    if (frozen_ != nullptr) ::munmap(frozen_, filesystems_.size() + 1);
}

void FilesystemFreezer::start_guardian() {
    void* shared =
        ::mmap(nullptr, filesystems_.size() + 1, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (shared == MAP_FAILED) throw_errno(Code::kInternal, errno, "no memory for the guardian");
    frozen_ = static_cast<bool*>(shared);
    int ends[2];
    if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0)
        throw_errno(Code::kInternal, errno, "no socket for the guardian");
    guardian_ = Fd(ends[0]);
    const Fd other(ends[1]);
    std::vector<int> fds, kept{other.get()};
    for (const Filesystem& filesystem : filesystems_)
        fds.push_back(filesystem.fd.get());
    kept.insert(kept.end(), fds.begin(), fds.end());
    const Watch watch{other.get(), static_cast<int>(deadline_.count()), fds.data(), frozen_, fds.size()};
    guardian_pid_ = ::fork();
    if (guardian_pid_ < 0) throw_errno(Code::kInternal, errno, "the guardian cannot be started");
    if (guardian_pid_ == 0) {
        close_all_but(std::move(kept));
        guard(watch);
    }
}

void FilesystemFreezer::tell_guardian(char word) {
    if (::send(guardian_.get(), &word, 1, MSG_NOSIGNAL) != 1)
        throw_errno(Code::kRefused, errno, "the process that would thaw the filesystems is gone");
}

void FilesystemFreezer::sync() const {
    for (const Filesystem& filesystem : filesystems_)
        if (::syncfs(filesystem.fd.get()) != 0)
            throw_errno(Code::kSourceIo, errno, "{}: cannot be written out", filesystem.root);
}

void FilesystemFreezer::freeze() {
    tell_guardian(kWatch);
    for (std::size_t i = filesystems_.size(); i-- > 0;) {
        Filesystem& filesystem = filesystems_[i];
        if (!filesystem.can_freeze) {
            ::syncfs(filesystem.fd.get());
            continue;
        }
        // Before it is: what is killed in between is thawed all the same.
        std::atomic_ref(frozen_[i]).store(true);
        if (::ioctl(filesystem.fd.get(), FIFREEZE, 0) == 0) {
            if (std::atomic_ref(frozen_[i]).load()) continue;
            // The deadline passed meanwhile, and the guardian found nothing to thaw here yet.
            thaw_one(filesystem.fd.get());
            thaw_all();
            tell_guardian(kRest);
            throw_too_late();
        }
        const int error = errno;
        std::atomic_ref(frozen_[i]).store(false);
        if (cannot_be_frozen(error)) {
            filesystem.can_freeze = false;
            not_frozen_.push_back(filesystem.root);
            ::syncfs(filesystem.fd.get());
            continue;
        }
        thaw_all();
        tell_guardian(kRest);
        throw_errno(Code::kRefused, error, "{}: cannot be frozen{}", filesystem.root,
                    error == EBUSY ? ": somebody else did that" : "");
    }
}

// False if the guardian has thawed one of them already.
bool FilesystemFreezer::thaw_all() {
    bool was_first = true;
    for (std::size_t i = 0; i < filesystems_.size() && frozen_ != nullptr; ++i)
        if (std::atomic_ref(frozen_[i]).exchange(false) && !thaw_one(filesystems_[i].fd.get()))
            was_first = false;
    return was_first;
}

void FilesystemFreezer::thaw() {
    std::size_t frozen = 0;
    for (const Filesystem& filesystem : filesystems_)
        frozen += filesystem.can_freeze ? 1 : 0;
    std::size_t still = 0;
    for (std::size_t i = 0; i < filesystems_.size(); ++i)
        still += std::atomic_ref(frozen_[i]).load() ? 1 : 0;
    const bool was_first = thaw_all() && still == frozen;
    tell_guardian(kRest);
    if (!was_first) throw_too_late();
}

void FilesystemFreezer::throw_too_late() const {
    throw_error(Code::kRefused, "the filesystems were frozen for longer than {} ms and were thawed by force",
                deadline_.count());
}

}  // namespace dupengine::machine
