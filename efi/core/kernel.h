#pragma once
// The Linux kernel that [boot] of the profile names, and what it is started for. What it does then is the
// business of its initramfs: to receive and to restore is dupengine-initramfs(8), a shell initramfs-tools(7).

#include "efi/core/loaders.h"

namespace dupengine::efi {

enum class KernelUse { kAsIs, kReceive, kRestore, kShell };

/// Why the kernel cannot be started for each of the uses, or nothing.
using KernelFaults = std::array<TextView, 4>;
KernelFaults kernel_faults(Firmware& firmware, const Survey& survey);

/// Starts it; returns why it came back.
TextView start_kernel(Firmware& firmware, const Survey& survey, KernelUse use);

}  // namespace dupengine::efi
