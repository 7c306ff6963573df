#include "image/foreign/foreign_disk.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>

#include "base/fd.h"

namespace dupengine::image {

ForeignDisk open_foreign(const std::string& path, SourceFormat format) {
    const Fd fd = open_path(path, O_RDONLY | O_NONBLOCK | O_NOCTTY, Code::kRefused);
    struct stat info {};
    if (::fstat(fd.get(), &info) != 0 || !S_ISREG(info.st_mode)) {
        if (format == SourceFormat::kAuto || format == SourceFormat::kRaw) return {};
        throw_error(Code::kRefused, "{}: --source-format is for a file", path);
    }
    Bytes begin(std::min<std::size_t>(kFormBytes, static_cast<std::size_t>(info.st_size)));
    pread_exact(fd.get(), 0, begin, Code::kSourceIo, path);
    const DiskForm form = tell_form(begin, format, path);
    if (form == DiskForm::kRaw) return {};
    if (form != DiskForm::kQcow2) return unpack(path, form);
    check_qcow2_header(begin, path);
    ForeignDisk disk = open_qcow2(path);
    // Still what was checked, now that the other program has it open.
    pread_exact(fd.get(), 0, begin, Code::kSourceIo, path);
    check_qcow2_header(begin, path);
    return disk;
}

}  // namespace dupengine::image
