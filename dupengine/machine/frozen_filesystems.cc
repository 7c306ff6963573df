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

bool thaw_one(int fd) {
    return ::ioctl(fd, FITHAW, 0) == 0;
}

// -- the guardian: a copy of a process with threads, so it allocates nothing and calls nothing but the kernel

struct Watch {
    int socket = -1, fd = -1;
    int milliseconds = 0;
    bool* frozen = nullptr;
};

void write_text(const char* path, const char* text, std::size_t size) {
    const int fd = ::open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0) return;
    [[maybe_unused]] const ssize_t written = ::write(fd, text, size);
    ::close(fd);
}

// Whoever kills a service with all its processes, or by its name, does not mean this one.
void stand_apart() {
    ::setsid();
    for (const int signal : {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGPIPE})
        ::signal(signal, SIG_IGN);
    ::prctl(PR_SET_NAME, "fs-thaw-guard");
    write_text("/proc/self/oom_score_adj", "-1000", 5);
    write_text("/sys/fs/cgroup/cgroup.procs", "0", 1);
    ::mlockall(MCL_CURRENT | MCL_ONFAULT);
}

// It keeps no disk, lock or connection of its parent alive.
void close_all_but(int one, int other) {
    const auto low = static_cast<unsigned>(std::min(one, other)),
               high = static_cast<unsigned>(std::max(one, other));
    if (low > 0) ::syscall(SYS_close_range, 0, low - 1, 0);
    if (high > low + 1) ::syscall(SYS_close_range, low + 1, high - 1, 0);
    ::syscall(SYS_close_range, high + 1, ~0U, 0);
}

// Until nobody is at the other end of the socket any more. After the deadline it looks again and again: the
// freeze itself may take longer than that.
[[noreturn]] void guard(const Watch& watch) {
    close_all_but(watch.socket, watch.fd);
    stand_apart();
    int wait = watch.milliseconds;
    for (;;) {
        pollfd ready{watch.socket, POLLIN, 0};
        const int found = ::poll(&ready, 1, wait);
        if (found < 0 && errno == EINTR) continue;
        if (std::atomic_ref(*watch.frozen).exchange(false)) thaw_one(watch.fd);
        if (found != 0) ::_exit(0);
        wait = 100;
    }
}

// -- which filesystem a path leads to

bool is_mount(int fd, std::uint64_t id) {
    struct statx found {};
    return ::statx(fd, "", AT_EMPTY_PATH, STATX_MNT_ID, &found) == 0 &&
           (found.stx_mask & STATX_MNT_ID) != 0 && found.stx_mnt_id == id;
}

// A mount can be of a single file, as containers have them; of a device or a pipe it tells nothing.
Fd open_mount(const MountPlace& mount) {
    struct stat st {};
    if (::stat(mount.path.c_str(), &st) != 0 || !(S_ISDIR(st.st_mode) || S_ISREG(st.st_mode))) return {};
    Fd fd(::open(mount.path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
    return fd.valid() && is_mount(fd.get(), mount.id) ? std::move(fd) : Fd();
}

}  // namespace

OpenFilesystems::OpenFilesystems(const std::vector<MountPlace>& mounts) {
    std::map<std::uint64_t, const MountPlace*> not_reached;
    std::map<std::uint64_t, bool> reached;
    for (const MountPlace& mount : mounts) {
        if (reached[mount.filesystem]) continue;
        Fd fd = open_mount(mount);
        if (fd.valid()) {
            reached[mount.filesystem] = true;
            all_.push_back({mount.path, std::move(fd)});
        } else {
            not_reached.emplace(mount.filesystem, &mount);
        }
    }
    for (const auto& [filesystem, mount] : not_reached)
        if (!reached[filesystem])
            throw_error(Code::kRefused,
                        "{}: the filesystem that is mounted there cannot be reached (another mount hides it)",
                        mount->path);
}

void OpenFilesystems::sync() const {
    for (const Filesystem& filesystem : all_)
        if (::syncfs(filesystem.fd.get()) != 0)
            throw_errno(Code::kSourceIo, errno, "{}: cannot be written out", filesystem.path);
}

FrozenFilesystems::FrozenFilesystems(const OpenFilesystems& filesystems, std::chrono::milliseconds deadline,
                                     Begin begin)
    : filesystems_(filesystems), deadline_(deadline), was_frozen_(filesystems.all().size()) {
    void* shared =
        ::mmap(nullptr, was_frozen_.size() + 1, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (shared == MAP_FAILED) throw_errno(Code::kInternal, errno, "no memory for the guardians");
    frozen_ = static_cast<bool*>(shared);
    try {
        for (std::size_t i = 0; i < was_frozen_.size(); ++i)
            guardians_.push_back(start_guardian(i));
        if (begin == Begin::kNow) freeze();
    } catch (...) {
        thaw();
        end_guardians();
        throw;
    }
}

void FrozenFilesystems::freeze() {
    try {
        for (std::size_t i = was_frozen_.size(); i-- > 0;)
            freeze_one(i);
    } catch (...) {
        thaw();
        throw;
    }
}

FrozenFilesystems::~FrozenFilesystems() {
    thaw();
    end_guardians();
}

void FrozenFilesystems::end_guardians() {
    for (Guardian& guardian : guardians_) {
        guardian.socket = Fd();
        ::waitpid(guardian.pid, nullptr, 0);
    }
    guardians_.clear();
    if (frozen_ != nullptr) ::munmap(frozen_, was_frozen_.size() + 1);
    frozen_ = nullptr;
}

FrozenFilesystems::Guardian FrozenFilesystems::start_guardian(std::size_t number) const {
    int ends[2];
    if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0)
        throw_errno(Code::kInternal, errno, "no socket for the guardian");
    Guardian guardian{Fd(ends[0]), -1};
    const Fd other(ends[1]);
    const Watch watch{other.get(), filesystems_.all()[number].fd.get(), static_cast<int>(deadline_.count()),
                      frozen_ + number};
    guardian.pid = ::fork();
    if (guardian.pid < 0) throw_errno(Code::kInternal, errno, "the guardian cannot be started");
    if (guardian.pid == 0) guard(watch);
    return guardian;
}

void FrozenFilesystems::freeze_one(std::size_t number) {
    const OpenFilesystems::Filesystem& filesystem = filesystems_.all()[number];
    // Before it is: what is killed in between is thawed all the same.
    std::atomic_ref(frozen_[number]).store(true);
    if (::ioctl(filesystem.fd.get(), FIFREEZE, 0) == 0) {
        // Once more: the deadline may have passed meanwhile, and the guardian have found nothing to thaw.
        std::atomic_ref(frozen_[number]).store(true);
        was_frozen_[number] = true;
        return;
    }
    const int error = errno;
    std::atomic_ref(frozen_[number]).store(false);
    if (error != EOPNOTSUPP && error != ENOTTY)
        throw_errno(Code::kRefused, error, "{}: cannot be frozen{}", filesystem.path,
                    error == EBUSY ? ": somebody else did that" : "");
    if (::syncfs(filesystem.fd.get()) != 0)
        throw_errno(Code::kSourceIo, errno, "{}: cannot be written out", filesystem.path);
    not_frozen_.push_back(filesystem.path);
}

bool FrozenFilesystems::thaw() {
    bool was_in_time = true;
    for (std::size_t i = 0; i < was_frozen_.size() && frozen_ != nullptr; ++i) {
        if (!was_frozen_[i]) continue;
        was_frozen_[i] = false;
        // Where the guardian found nothing to thaw yet, or had just taken the mark, it is frozen still.
        const bool had_mark = std::atomic_ref(frozen_[i]).exchange(false);
        const bool was_there = thaw_one(filesystems_.all()[i].fd.get());
        was_in_time = was_in_time && had_mark && was_there;
    }
    return was_in_time;
}

}  // namespace dupengine::machine
