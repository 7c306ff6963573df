#pragma once
// Whether what an NTFS volume says of itself is the truth: not after a crash, and not while a hibernated
// Windows believes to know better. Internal to layout/. Never plays the log. Formats: the NTFS documentation
// of the Linux-NTFS project, "$Volume", "$LogFile", "Index Record", "Directory".

#include "layout/ntfs_files.h"

namespace dupengine::layout {

enum class NtfsLog {
    kClosed,  ///< by Windows or its like: all that stood in it is in place
    kEmpty    ///< by a driver or a program that keeps no log, so it tells nothing
};

/// Throws kIntegrity, saying why, if its structures may not be up to date: marked dirty, a log that has not
/// been closed, a hibernated Windows. Otherwise how it knows.
NtfsLog check_ntfs_was_closed(const NtfsFiles& files);

}  // namespace dupengine::layout
