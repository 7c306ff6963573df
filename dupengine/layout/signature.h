#pragma once
// What a partition (or a whole disk) holds, by its signature: libblkid behind one function. Never writes.

#include <optional>
#include <string>

#include "block/device.h"

namespace dupengine::layout {

struct Signature {
    std::string type;   ///< libblkid's TYPE: "ext4", "vfat", "swap", "crypto_LUKS", "LVM2_member", ...
    std::string usage;  ///< "filesystem", "other", "raid", "crypto"
    std::string uuid;   ///< as blkid prints it; empty if the format has none
    std::string label;
    std::string version;
};

/// As Reader::known_signature tells it; empty for no signature. Limited in length, for what is read.
std::string encode_signature(const std::optional<Signature>& signature);
std::optional<Signature> decode_signature(const std::string& text);

/// Empty if nothing is known there, or if two formats claim it (then nothing may be assumed).
/// A reader that knows is asked and not read. Works on fakes too: a reader without a descriptor is probed
/// through a copy of its first and last 4 MiB.
std::optional<Signature> probe_signature(const block::Reader& reader);
/// The same for one part of a disk.
std::optional<Signature> probe_signature(const block::Reader& disk, block::Extent part);

}  // namespace dupengine::layout
