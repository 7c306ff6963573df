#pragma once
// What the target tells the duplicate that it becomes (machine/image_letter.h): the boot structures of its
// disks, and what the source told of its end.

#include <string>

#include "base/bytes.h"

namespace dupengine::cli {

struct WakeLetter {
    Bytes held_boot;            ///< as engine::encode_held_boot
    std::string source_report;  ///< as source_report(); empty: none
};

/// The size of the report (8 bytes, little-endian), the report, and the rest.
Bytes encode_letter(const WakeLetter& letter);
/// Throws kIntegrity for what is none.
WakeLetter decode_letter(const Bytes& bytes);

}  // namespace dupengine::cli
