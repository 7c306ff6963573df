#pragma once
// The header of a LUKS container: where its payload lies and how it is encrypted (LUKS1 on-disk format 1.2.3;
// LUKS2 on-disk format 1.1.1). Reads, never decrypts, never repairs: what libcryptsetup would mend (a damaged
// copy of the header) or finish (a reencryption) is not understood here. Pure; safe from any thread.

#include <string>

#include "block/device.h"

namespace dupengine::layout {

struct LuksHeader {
    unsigned version = 0;              ///< 1 or 2
    std::string uuid;                  ///< as it is written there
    block::Extent payload;             ///< of the part: whole encryption sectors
    std::uint32_t sector_bytes = 512;  ///< encrypted as one: half of one is worth nothing
    std::string cipher;                ///< as dm-crypt names it: "aes-xts-plain64"
    std::uint64_t iv_offset = 0;       ///< added to the number of a sector of the payload, in 512 bytes
};

/// Throws kIntegrity, with the reason, for what is damaged, unknown, or not a plain encrypted payload; else
/// what reading throws.
LuksHeader read_luks_header(const block::Reader& part);

}  // namespace dupengine::layout
