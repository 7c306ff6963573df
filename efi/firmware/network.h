#pragma once
// Files from web servers, by the HTTP of the firmware, with an address by DHCP where firmware has none.

#include "efi/core/web.h"
#include "efi/firmware/console.h"
#include "efi/firmware/services.h"

namespace dupengine::efi {

/// Reads a whole file into `into`, and says how far it is. What takes half a minute without a byte is given
/// up.
WebAnswer fetch_file(BootServices& boot, Console& console, TextView url, const WebAddress& address,
                     Pool& into);

/// Reads a part of a file, whole, and says nothing.
WebAnswer fetch_file_part(BootServices& boot, Console& console, TextView url, const WebAddress& address,
                          std::uint64_t offset, Buffer part);

}  // namespace dupengine::efi
