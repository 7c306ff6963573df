#include "profiles/system/folder_system.h"

#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

#include "base/error.h"

namespace dupengine::profiles {

FolderSystem::FolderSystem(const std::string& path) : name_(path), tree_(DirTree::open(path)) {
    struct stat here {
    }, running{};
    if (::fstat(tree_.fd(), &here) != 0 || ::stat("/", &running) != 0)
        throw_errno(Code::kRefused, errno, "{}: cannot be examined", path);
    if (here.st_dev == running.st_dev && here.st_ino == running.st_ino)
        throw_error(Code::kRefused,
                    "{}: is the running system; a role is taken up by a copy that does not run", path);
}

std::string FolderSystem::file_system_of(const std::string& path) {
    const std::uint64_t device = tree_.device_of(path);
    std::string top = path;
    while (top != "/" && tree_.device_of(parent_of(top)) == device)
        top = parent_of(top);
    return top;
}

void FolderSystem::open_for_writing(const std::vector<IdentifierChange>&) {
    if (::flock(tree_.fd(), LOCK_EX | LOCK_NB) != 0)
        throw_error(Code::kRefused, "{}: another program is changing it", name_);
}

void FolderSystem::close() {
    if (::syncfs(tree_.fd()) != 0) throw_errno(Code::kTargetIo, errno, "{}: flush failed", name_);
    ::flock(tree_.fd(), LOCK_UN);
}

}  // namespace dupengine::profiles
