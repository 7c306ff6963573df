#pragma once
// Files that hold a disk in somebody else's form. They are told by their first bytes, never by their names.
// Pure.

#include <span>
#include <string>

#include "base/bytes.h"

namespace dupengine::image {

enum class DiskForm { kRaw, kGzip, kXz, kZstd, kBzip2, kQcow2 };

/// How the source is to be taken (--source-format).
enum class SourceFormat {
    kAuto,  ///< as what it begins like; what begins like a disk as well is refused
    kRaw,
    kCompressed,
    kQcow2
};

/// "gzip", "qcow2", ...
const char* form_name(DiskForm form);

/// How much of a file is enough to tell.
inline constexpr std::size_t kFormBytes = 8192;

/// `begin`: the first kFormBytes, or all of a shorter file. Throws kRefused if it may be two things, or is
/// not what `format` says. `name` is for messages.
DiskForm tell_form(std::span<const std::byte> begin, SourceFormat format, const std::string& name);

}  // namespace dupengine::image
