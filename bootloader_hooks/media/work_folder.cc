#include "bootloader_hooks/media/work_folder.h"

#include <unistd.h>

#include <cerrno>
#include <filesystem>

#include "base/error.h"

namespace dupengine::boot {

WorkFolder::WorkFolder() {
    if (::mkdtemp(path_.data()) == nullptr)
        throw_errno(Code::kTargetIo, errno, "{}: no folder can be made", path_);
}

WorkFolder::~WorkFolder() {
    std::error_code ignored;  // nothing is left to be done about it
    std::filesystem::remove_all(path_, ignored);
}

}  // namespace dupengine::boot
