#include "profiles/system/dir_tree.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "profiles/system/fat_tree.h"

namespace dupengine::profiles {
namespace {

constexpr std::size_t kAttributeLimit = 64 * kKiB;  // the kernel's own (XATTR_SIZE_MAX, XATTR_LIST_MAX)

// -1 and errno, as the system call.
int open_in_root(int root, const std::string& path, unsigned flags) {
    open_how how{};
    how.flags = flags | O_CLOEXEC;
    how.resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS;
    for (;;) {
        const long fd = ::syscall(SYS_openat2, root, path.c_str(), &how, sizeof how);
        if (fd >= 0) return static_cast<int>(fd);
        if (errno != EINTR && errno != EAGAIN)
            return -1;  // EAGAIN: a rename elsewhere raced with the resolution
    }
}

void sync_folder(int parent, const std::string& name) {
    // An O_PATH descriptor cannot be flushed.
    const Fd fd(::openat(parent, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (!fd.valid() || ::fsync(fd.get()) != 0) throw_errno(Code::kTargetIo, errno, "{}: flush failed", name);
}

std::string read_link(int parent, const std::string& leaf, const std::string& name) {
    std::string target(PATH_MAX, '\0');
    const ssize_t n = ::readlinkat(parent, leaf.c_str(), target.data(), target.size());
    if (n < 0) throw_errno(Code::kTargetIo, errno, "{}: the symlink cannot be read", name);
    target.resize(static_cast<std::size_t>(n));
    return target;
}

std::map<std::string, std::string> read_attributes(int fd, const std::string& name) {
    std::map<std::string, std::string> attributes;
    std::string names(kAttributeLimit, '\0');
    const ssize_t length = ::flistxattr(fd, names.data(), names.size());
    if (length < 0 && (errno == ENOTSUP || errno == ENOSYS)) return attributes;
    if (length < 0) throw_errno(Code::kTargetIo, errno, "{}: extended attributes cannot be listed", name);
    names.resize(static_cast<std::size_t>(length));
    for (std::size_t begin = 0; begin < names.size();) {
        const std::string key = names.c_str() + begin;
        begin += key.size() + 1;
        std::string value(kAttributeLimit, '\0');
        const ssize_t n = ::fgetxattr(fd, key.c_str(), value.data(), value.size());
        if (n < 0) throw_errno(Code::kTargetIo, errno, "{}: extended attribute {} cannot be read", name, key);
        value.resize(static_cast<std::size_t>(n));
        attributes[key] = std::move(value);
    }
    return attributes;
}

// What a new file got from its folder (a default ACL), and its node does not have.
void drop_inherited_attributes(int fd, const Node& node, const std::string& name) {
    for (const auto& [key, value] : read_attributes(fd, name))
        if (!node.extended_attributes.contains(key)) ::fremovexattr(fd, key.c_str());
}

NodeKind kind_of(mode_t mode) {
    if (S_ISREG(mode)) return NodeKind::kFile;
    if (S_ISLNK(mode)) return NodeKind::kLink;
    if (S_ISDIR(mode)) return NodeKind::kFolder;
    return NodeKind::kOther;
}

}  // namespace

DirTree::DirTree(Fd folder, std::string name, Keeps keeps)
    : folder_(std::move(folder)), name_(std::move(name)), keeps_(keeps) {}

DirTree DirTree::open(const std::string& path) {
    std::string name = path;
    while (!name.empty() && name.back() == '/')
        name.pop_back();
    return {open_path(path, O_RDONLY | O_DIRECTORY, Code::kRefused), name};
}

Fd DirTree::open_parent(const std::string& path) const {
    require_normal(path);
    Fd parent(open_in_root(folder_.get(), parent_of(path), O_PATH | O_DIRECTORY));
    if (!parent.valid() && errno != ENOENT && errno != ENOTDIR)
        throw_errno(Code::kRefused, errno, "{}: cannot be reached", full(path));
    return parent;
}

Fd DirTree::open_existing_parent(const std::string& path) const {
    Fd parent = open_parent(path);
    if (!parent.valid()) throw_error(Code::kRefused, "{}: its folder is not there", full(path));
    return parent;
}

Fd DirTree::open_file(const std::string& path) const {
    const Fd parent = open_existing_parent(path);
    // O_NONBLOCK: whatever it may have become since it was looked at, opening must not wait.
    Fd fd(::openat(parent.get(), leaf_of(path).c_str(), O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC));
    if (!fd.valid()) throw_errno(Code::kTargetIo, errno, "{}: cannot be opened", full(path));
    return fd;
}

Node DirTree::look(const std::string& path) const {
    if (path == "/") return Node::folder(0755);
    const Fd parent = open_parent(path);
    if (!parent.valid()) return {};
    struct stat st {};
    if (::fstatat(parent.get(), leaf_of(path).c_str(), &st, AT_SYMLINK_NOFOLLOW) != 0) {
        if (errno == ENOENT || errno == ENAMETOOLONG) return {};
        throw_errno(Code::kTargetIo, errno, "{}: cannot be examined", full(path));
    }
    Node node;
    node.kind = kind_of(st.st_mode);
    node.mode = st.st_mode & 07777;
    node.uid = st.st_uid;
    node.gid = st.st_gid;
    if (node.kind == NodeKind::kFile) node.size_bytes = static_cast<std::uint64_t>(st.st_size);
    if (node.kind == NodeKind::kLink) node.link_target = read_link(parent.get(), leaf_of(path), full(path));
    const bool has_nature = keeps_ == Keeps::kEverything || node.kind == NodeKind::kOther;
    return has_nature ? node : as_stored_on_fat(node, full(path));
}

Node DirTree::take(const std::string& path) const {
    Node node = look(path);
    if (node.kind != NodeKind::kFile) return node;
    if (node.size_bytes > kFileLimit)
        throw_error(Code::kRefused, "{}: {} bytes are more than can be looked through ({})", full(path),
                    node.size_bytes, kFileLimit);
    const Fd fd = open_file(path);
    const Bytes content = read_to_end(fd.get(), kFileLimit, full(path));
    node = node.with_content(std::string(as_text(content)));
    if (keeps_ == Keeps::kEverything) node.extended_attributes = read_attributes(fd.get(), full(path));
    return node;
}

std::vector<std::string> DirTree::list(const std::string& path) const {
    std::vector<std::string> names;
    Fd inside(open_in_root(folder_.get(), path, O_RDONLY | O_DIRECTORY | O_NONBLOCK));
    if (!inside.valid()) {
        if (errno == ENOENT || errno == ENOTDIR) return names;
        throw_errno(Code::kTargetIo, errno, "{}: cannot be listed", full(path));
    }
    const std::unique_ptr<DIR, int (*)(DIR*)> stream(::fdopendir(inside.get()), ::closedir);
    if (!stream) throw_errno(Code::kTargetIo, errno, "{}: cannot be listed", full(path));
    inside.release();  // the stream closes it
    errno = 0;
    while (const dirent* entry = ::readdir(stream.get())) {
        const std::string name = entry->d_name;
        if (name != "." && name != "..") names.push_back(name);
    }
    if (errno != 0) throw_errno(Code::kTargetIo, errno, "{}: listing failed", full(path));
    std::sort(names.begin(), names.end());
    return names;
}

void DirTree::put(const std::string& path, const Node& node) {
    const Fd parent = open_existing_parent(path);
    switch (node.kind) {
        case NodeKind::kAbsent:
            remove(parent, path);
            break;
        case NodeKind::kFile:
            put_file(parent, path, node);
            break;
        case NodeKind::kLink:
            put_link(parent, path, node);
            break;
        case NodeKind::kFolder:
            put_folder(parent, path, node);
            break;
        case NodeKind::kOther:
            throw_error(Code::kInternal, "{}: a special file cannot be made", full(path));
    }
    sync_folder(parent.get(), full(path));
}

void DirTree::set_attributes(const Fd& file, const std::string& path, const Node& node) {
    drop_inherited_attributes(file.get(), node, full(path));  // before the mode, which an ACL changes
    if (::fchown(file.get(), node.uid, node.gid) != 0 || ::fchmod(file.get(), node.mode) != 0)
        throw_errno(Code::kTargetIo, errno, "{}: owner or mode cannot be set", full(path));
    for (const auto& [key, value] : node.extended_attributes)
        if (::fsetxattr(file.get(), key.c_str(), value.data(), value.size(), 0) != 0)
            throw_errno(Code::kTargetIo, errno, "{}: extended attribute {} cannot be set", full(path), key);
}

void DirTree::put_file(const Fd& parent, const std::string& path, const Node& node) {
    ::unlinkat(parent.get(), kTemporaryName, 0);  // of a run that was cut
    Fd fd(::openat(parent.get(), kTemporaryName, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600));
    if (!fd.valid())
        throw_errno(Code::kTargetIo, errno, "{}: no temporary file can be made beside it", full(path));
    try {
        pwrite_exact(fd.get(), 0, as_bytes(*node.content), Code::kTargetIo, full(path));
        if (keeps_ == Keeps::kEverything) set_attributes(fd, path, node);
        if (::fsync(fd.get()) != 0) throw_errno(Code::kTargetIo, errno, "{}: flush failed", full(path));
        fd.close(Code::kTargetIo, full(path));
        replace(parent, path);
    } catch (...) {
        ::unlinkat(parent.get(), kTemporaryName, 0);
        throw;
    }
}

void DirTree::put_link(const Fd& parent, const std::string& path, const Node& node) {
    ::unlinkat(parent.get(), kTemporaryName, 0);
    if (::symlinkat(node.link_target.c_str(), parent.get(), kTemporaryName) != 0)
        throw_errno(Code::kTargetIo, errno, "{}: the symlink cannot be made", full(path));
    replace(parent, path);
}

void DirTree::replace(const Fd& parent, const std::string& path) {
    if (::renameat(parent.get(), kTemporaryName, parent.get(), leaf_of(path).c_str()) == 0) return;
    const int reason = errno;
    ::unlinkat(parent.get(), kTemporaryName, 0);
    throw_errno(Code::kTargetIo, reason, "{}: cannot be replaced", full(path));
}

void DirTree::put_folder(const Fd& parent, const std::string& path, const Node& node) {
    const std::string leaf = leaf_of(path);
    if (::mkdirat(parent.get(), leaf.c_str(), 0700) != 0 && errno != EEXIST)
        throw_errno(Code::kTargetIo, errno, "{}: the folder cannot be made", full(path));
    const Fd fd(::openat(parent.get(), leaf.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
    const auto owned = [&] {
        return keeps_ == Keeps::kContent ||
               (::fchown(fd.get(), node.uid, node.gid) == 0 && ::fchmod(fd.get(), node.mode) == 0);
    };
    if (!fd.valid() || !owned() || ::fsync(fd.get()) != 0)
        throw_errno(Code::kTargetIo, errno, "{}: the folder cannot be given its owner and mode", full(path));
}

void DirTree::remove(const Fd& parent, const std::string& path) {
    const std::string leaf = leaf_of(path);
    if (::unlinkat(parent.get(), leaf.c_str(), 0) == 0 || errno == ENOENT) return;
    if (errno == EISDIR && ::unlinkat(parent.get(), leaf.c_str(), AT_REMOVEDIR) == 0) return;
    throw_errno(Code::kTargetIo, errno, "{}: cannot be removed", full(path));
}

void DirTree::rename(const std::string& from, const std::string& to) {
    const Fd old_parent = open_existing_parent(from), new_parent = open_existing_parent(to);
    if (::syscall(SYS_renameat2, old_parent.get(), leaf_of(from).c_str(), new_parent.get(),
                  leaf_of(to).c_str(), 1u /* RENAME_NOREPLACE */) != 0)
        throw_errno(Code::kTargetIo, errno, "{}: cannot be renamed to {}", full(from), to);
    sync_folder(old_parent.get(), full(from));
    sync_folder(new_parent.get(), full(to));
}

void DirTree::sweep(const std::string& folder) {
    const Fd parent = open_parent(join(folder, kTemporaryName));
    if (parent.valid()) ::unlinkat(parent.get(), kTemporaryName, 0);
}

Node DirTree::as_stored(const std::string& path, const Node& node) const {
    return keeps_ == Keeps::kEverything ? node : as_stored_on_fat(node, full(path));
}

Fd DirTree::open_nearest(const std::string& path) const {
    for (std::string place = path;; place = parent_of(place)) {
        Fd fd(open_in_root(folder_.get(), place, O_PATH));
        if (fd.valid()) return fd;
        if (place == "/") throw_errno(Code::kTargetIo, errno, "{}: cannot be reached", name_);
    }
}

std::uint64_t DirTree::free_bytes(const std::string& path) const {
    const Fd place = open_nearest(path);
    struct statvfs room {};
    if (::fstatvfs(place.get(), &room) != 0)
        throw_errno(Code::kTargetIo, errno, "{}: cannot be examined", full(path));
    return static_cast<std::uint64_t>(room.f_bavail) * room.f_frsize;
}

std::uint64_t DirTree::device_of(const std::string& path) const {
    struct stat st {};
    if (::fstat(open_nearest(path).get(), &st) != 0)
        throw_errno(Code::kTargetIo, errno, "{}: cannot be examined", full(path));
    return st.st_dev;
}

}  // namespace dupengine::profiles
