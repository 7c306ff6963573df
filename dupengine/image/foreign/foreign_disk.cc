#include "image/foreign/foreign_disk.h"

#include <sys/stat.h>

#include <algorithm>

#include "base/fd.h"

namespace dupengine::image {

ForeignDisk open_foreign(const ForeignFile& file, SourceFormat format) {
    struct stat info {};
    if (::fstat(file.fd, &info) != 0 || !S_ISREG(info.st_mode)) {
        if (format == SourceFormat::kAuto || format == SourceFormat::kRaw) return {};
        throw_error(Code::kRefused, "{}: --source-format is for a file", file.name);
    }
    Bytes begin(std::min<std::size_t>(kFormBytes, static_cast<std::size_t>(info.st_size)));
    pread_exact(file.fd, 0, begin, Code::kSourceIo, file.name);
    const DiskForm form = tell_form(begin, format, file.name);
    if (form == DiskForm::kRaw) return {};
    if (form != DiskForm::kQcow2) return unpack(file, form);
    check_qcow2_header(begin, file.name);
    ForeignDisk disk = open_qcow2(file);
    // Still what was checked, now that the other program has it open.
    pread_exact(file.fd, 0, begin, Code::kSourceIo, file.name);
    check_qcow2_header(begin, file.name);
    return disk;
}

}  // namespace dupengine::image
