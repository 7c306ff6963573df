#pragma once
// How the kernel maps an open LUKS container: the table of a device of device-mapper, asked by ioctl
// (linux/dm-ioctl.h) because sysfs does not tell it. The kernel gives the key away with it for LUKS1: it is
// overwritten here and goes nowhere. Never changes a mapping.

#include <optional>
#include <string>
#include <string_view>

#include "layout/block_graph.h"

namespace dupengine::layout {

/// A device that is one crypt target and nothing else.
struct CryptTable {
    DeviceNumber device = 0;  ///< that holds the ciphertext
    ByteOffset begin = 0;     ///< of the ciphertext, in it
    std::uint32_t sector_bytes = 512;
    bool operator==(const CryptTable&) const = default;
};

/// The words of a crypt target: "CIPHER KEY IV_OFFSET DEVICE OFFSET [N OPTION...]"
/// (Documentation/admin-guide/device-mapper/dm-crypt.rst). Empty for what is not understood.
std::optional<CryptTable> parse_crypt_table(std::string_view words);

/// Empty if the kernel does not say, or says anything else. `control`: "/dev/mapper/control".
std::optional<CryptTable> ask_crypt_table(const std::string& control, DeviceNumber mapped);

}  // namespace dupengine::layout
