#include "machine/leases.h"

#include <dirent.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <memory>
#include <optional>

#include "base/error.h"
#include "base/fd.h"

namespace dupengine::machine {
namespace {

struct Place {
    const char* folder;
    const char* names;  // fnmatch(3)
};
// dhcpd*.leases in /var/lib/dhcp are those of the server.
constexpr Place kPlaces[] = {
    {"var/lib/dhcp", "dhclient*.lease*"},   // isc-dhcp-client, Debian
    {"var/lib/dhclient", "*.lease*"},       // the same, Red Hat
    {"var/lib/NetworkManager", "*.lease"},  // NetworkManager's own client, and dhclient below it
    {"var/lib/NetworkManager", "dhclient*.lease*"},
    {"run/systemd/netif/leases", "*"},  // systemd-networkd
    {"var/lib/systemd/network", "*.lease"},
    {"var/lib/dhcpcd", "*.lease*"},
    {"var/lib/dhcpcd", "duid"},
    {"var/lib/dhcpcd", "secret"},
    {"var/lib/dhcpcd5", "*.lease*"},
    {"var/lib/dhcpcd5", "duid"},
    {"var/lib/wicked", "lease-*.xml"},
    {"var/lib/wicked", "duid.xml"},
    {"run/wicked", "lease-*.xml"},
    {"var/lib/udhcpc", "*.lease*"},
};

struct CloseFolder {
    void operator()(DIR* folder) const { ::closedir(folder); }
};
using Folder = std::unique_ptr<DIR, CloseFolder>;

// Not valid if there is no such folder.
Fd open_folder(int root, const std::string& path) {
    open_how how{};
    how.flags = O_RDONLY | O_DIRECTORY | O_CLOEXEC;
    how.resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS;
    for (;;) {
        const long fd = ::syscall(SYS_openat2, root, path.c_str(), &how, sizeof how);
        if (fd >= 0) return Fd(static_cast<int>(fd));
        if (errno == ENOENT || errno == ENOTDIR) return {};
        if (errno != EINTR && errno != EAGAIN)  // EAGAIN: a rename raced with it
            throw_errno(Code::kTargetIo, errno, "/{}: cannot be opened", path);
    }
}

std::vector<std::string> matching_files(const Fd& opened, const Place& place) {
    Fd list = Fd(::openat(opened.get(), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    const Folder folder(list.valid() ? ::fdopendir(list.get()) : nullptr);
    if (folder == nullptr) throw_errno(Code::kTargetIo, errno, "/{}: cannot be listed", place.folder);
    list.release();
    std::vector<std::string> names;
    while (const dirent* entry = ::readdir(folder.get())) {
        struct stat st {};
        if (::fnmatch(place.names, entry->d_name, 0) == 0 &&
            ::fstatat(opened.get(), entry->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(st.st_mode))
            names.emplace_back(entry->d_name);
    }
    std::sort(names.begin(), names.end());
    return names;
}

void drop_from(const Fd& root, const Place& place, std::vector<std::string>& dropped) {
    const Fd folder = open_folder(root.get(), place.folder);
    if (!folder.valid()) return;
    const std::vector<std::string> names = matching_files(folder, place);
    for (const std::string& name : names) {
        if (::unlinkat(folder.get(), name.c_str(), 0) != 0)
            throw_errno(Code::kTargetIo, errno, "/{}/{}: a lease of the source cannot be removed",
                        place.folder, name);
        dropped.push_back(fmt::format("/{}/{}", place.folder, name));
    }
    if (!names.empty() && ::fsync(folder.get()) != 0)
        throw_errno(Code::kTargetIo, errno, "/{}: flush failed", place.folder);
}

}  // namespace

std::vector<std::string> drop_leases(const std::string& root) {
    const Fd opened = open_path(root, O_PATH | O_DIRECTORY, Code::kTargetIo);
    std::vector<std::string> dropped;
    std::optional<Error> first;
    for (const Place& place : kPlaces)
        try {
            drop_from(opened, place, dropped);
        } catch (const Error& e) {
            if (!first) first = e;
        }
    if (first) throw Error(*first);
    return dropped;
}

}  // namespace dupengine::machine
