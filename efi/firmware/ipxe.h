#pragma once
// iPXE, if that started this program. It keeps the network card until a kernel takes over: what of the
// firmware's is connected to the card meanwhile finds it taken, and with iPXE of 2019 the end of boot
// services then calls what is gone. So the card is left alone, and iPXE fetches the files, by its Download
// Protocol (ipxe/efi/efi_download.h), with the address that it has.

#include "efi/core/web.h"
#include "efi/firmware/console.h"
#include "efi/firmware/services.h"

namespace dupengine::efi {

struct Ipxe {
    /// Data that came, at its place in the file; without any, how large the file is.
    using OnData = Status(EFIAPI*)(void* context, const void* data, std::uint64_t bytes,
                                   std::uint64_t offset);
    using OnEnd = void(EFIAPI*)(void* context, Status);
    Status(EFIAPI* start)(Ipxe*, const char* url, OnData, OnEnd, void* context, void** file);
    /// Ends it: the other function is called.
    Status(EFIAPI* abort)(Ipxe*, void* file, Status);
    Status(EFIAPI* poll)(Ipxe*);
};

/// Null if it was not iPXE.
Ipxe* ipxe_of(BootServices& boot, Handle self);

/// As fetch_file (network.h).
WebAnswer fetch_by_ipxe(BootServices& boot, Console& console, Ipxe& ipxe, TextView url, Pool& into);

}  // namespace dupengine::efi
