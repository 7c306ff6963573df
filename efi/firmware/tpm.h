#pragma once
// The machine's TPM 2.0, as firmware shares it (TCG EFI Protocol Specification, family 2.0, 6).

#include "efi/firmware/services.h"

namespace dupengine::efi {

/// That of the system's identity. Loaders and kernels measure into others: firmware 0 to 7, GRUB 8 and 9,
/// Linux 9 and (IMA) 10, systemd-boot and its stub 11 to 13, shim 14.
inline constexpr std::uint32_t kOwnRegister = 15;

/// Puts the digest of a line into the register and the line into the event log. Returns nothing if it is done
/// or there is no TPM, or why it could not be.
TextView measure_line(BootServices& boot, TextView line);

}  // namespace dupengine::efi
