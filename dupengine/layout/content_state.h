#pragma once
// Whether a disk or a file still holds the same bytes as some time ago, without reading them. A file has the
// times of its inode; a block device has none, but the kernel counts what is written to it from the moment it
// appears. Promises what one undisturbed run could promise too: a change that went through this kernel, since
// it was booted, shows. What writes to a disk behind the kernel's back (another machine on the same storage)
// shows in neither. Never writes.

#include <string>

#include "layout/in_use.h"

namespace dupengine::layout {

/// Two equal texts of one path mean that nothing was written to it in between. Empty where nothing can show
/// that: a mapped device (dm, md), whose parts can be exchanged and written below it; a device whose
/// transfers are not counted; a file on anything but a local filesystem that keeps times (btrfs, ext, F2FS,
/// tmpfs, XFS), one that a program has open for writing, or one that was written a moment ago, so that a
/// later change may bear the same time. Good until the next boot: a power cut loses times, and the counters
/// begin anew.
std::string content_state(const std::string& path, const SystemRoots& roots = {});

}  // namespace dupengine::layout
