#include "base/temporary_folder.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <vector>

namespace dupengine {
namespace {

constexpr std::string_view kPrefix = "dupengine-", kRandom = "XXXXXX";
constexpr const char* kLock = ".in-use";

bool may_be_left(std::string_view name) {
    return name.starts_with(kPrefix) && name.size() >= kPrefix.size() + kRandom.size();
}

// Of this user, and nobody else can change it.
bool is_ours(const Fd& fd, mode_t type) {
    struct stat st {};
    return fd.valid() && ::fstat(fd.get(), &st) == 0 && (st.st_mode & S_IFMT) == type &&
           st.st_uid == ::geteuid() && (st.st_mode & 0077) == 0;
}

// No link, and nothing that is mounted there. Kernels before 5.6 cannot tell, and open nothing.
Fd open_folder(const Fd& in, const std::string& name) {
    open_how how{};
    how.flags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;
    how.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_XDEV;
    return Fd(static_cast<int>(::syscall(SYS_openat2, in.get(), name.c_str(), &how, sizeof how)));
}

std::vector<std::string> names_in(const Fd& folder) {
    std::vector<std::string> names;
    Fd again(::openat(folder.get(), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    const std::unique_ptr<DIR, int (*)(DIR*)> list(::fdopendir(again.get()), ::closedir);
    if (list == nullptr) return names;
    static_cast<void>(again.release());
    while (const dirent* entry = ::readdir(list.get())) {
        const std::string name = entry->d_name;
        if (name != "." && name != "..") names.push_back(name);
    }
    return names;
}

// All but `kept`; false as soon as something cannot be removed.
bool clear(const Fd& folder, std::string_view kept = "") {
    return std::ranges::all_of(names_in(folder), [&](const std::string& name) {
        if (name == kept || ::unlinkat(folder.get(), name.c_str(), 0) == 0) return true;
        const Fd inner = open_folder(folder, name);
        return inner.valid() && clear(inner) && ::unlinkat(folder.get(), name.c_str(), AT_REMOVEDIR) == 0;
    });
}

// The lock goes last: what is cut here is gone on with by the next one.
void remove_if_left(const Fd& place, const std::string& name) {
    const Fd folder = open_folder(place, name);
    if (!is_ours(folder, S_IFDIR)) return;
    const Fd lock(::openat(folder.get(), kLock, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC));
    if (!is_ours(lock, S_IFREG) || ::flock(lock.get(), LOCK_EX | LOCK_NB) != 0) return;
    if (clear(folder, kLock) && ::unlinkat(folder.get(), kLock, 0) == 0)
        ::unlinkat(place.get(), name.c_str(), AT_REMOVEDIR);
}

void sweep(const std::string& place) {
    const Fd folder(::open(place.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (!folder.valid()) return;
    for (const std::string& name : names_in(folder))
        if (may_be_left(name)) remove_if_left(folder, name);
}

// False if another process took it for one that was left, before it was locked.
bool is_locked(const Fd& lock) {
    struct stat st {};
    if (::flock(lock.get(), LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK) return false;
    return ::fstat(lock.get(), &st) == 0 && st.st_nlink == 1;
}

}  // namespace

std::string temporary_place(const std::string& otherwise) {
    const char* chosen = std::getenv("TMPDIR");
    return chosen != nullptr && *chosen != '\0' ? chosen : otherwise;
}

TemporaryFolder::TemporaryFolder(const std::string& place, const std::string& kind, Code code) {
    sweep(place);
    do {
        path_ = fmt::format("{}/{}{}{}", place, kPrefix, kind, kRandom);
        if (::mkdtemp(path_.data()) == nullptr)
            throw_errno(code, errno, "{}: no temporary folder can be made there", place);
        lock_ = Fd(::open(file(kLock).c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
        if (!lock_.valid()) {
            const int why = errno;
            ::rmdir(path_.c_str());
            throw_errno(code, why, "{}: no temporary file can be made there", place);
        }
    } while (!is_locked(lock_));
}

TemporaryFolder::~TemporaryFolder() {
    std::error_code ignored;  // nothing is left to be done about it
    std::filesystem::remove_all(path_, ignored);
}

}  // namespace dupengine
