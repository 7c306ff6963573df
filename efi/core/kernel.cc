#include "efi/core/kernel.h"

namespace dupengine::efi {
namespace {

constexpr TextView kNoKernel = "the profile names no kernel";

/// What firmware is given.
struct KernelStart {
    FilePlace kernel, initrd;
    Bytes content;
    bool has_initrd = false;
    Text<2400> command_line;
};

TextView plan(Firmware& firmware, const Survey& survey, KernelUse use, KernelStart& start) {
    const NodeProfile* profile = survey.profile();
    if (profile == nullptr) return survey.no_machine;
    const BootSettings& boot = profile->boot;
    if (boot.kernel.empty()) return kNoKernel;
    if (use == KernelUse::kReceive && boot.receive_disk.empty())
        return "the profile does not say which disk would be written (receive_disk)";
    if (use == KernelUse::kShell && boot.initrd.empty()) return "the profile names no initrd";
    if (const TextView reason = find_boot_partition(survey, start.kernel); !reason.empty()) return reason;
    start.initrd = start.kernel;
    start.kernel.path.add(boot.kernel);
    start.initrd.path.add(boot.initrd);
    start.has_initrd = !boot.initrd.empty();
    start.command_line.add(boot.command_line);
    if (use != KernelUse::kAsIs && !boot.command_line.empty()) start.command_line.add(' ');
    if (use == KernelUse::kReceive) start.command_line.add("dupengine.receive=").add(boot.receive_disk);
    if (use == KernelUse::kShell) start.command_line.add("break=premount");
    if (start.has_initrd && !firmware.read_file(start.initrd, start.content).empty())
        return "its initrd cannot be read";
    if (!firmware.read_file(start.kernel, start.content).empty()) return "its kernel cannot be read";
    return is_own_copy(start.content) ? TextView("its kernel is dupengine.efi itself") : TextView();
}

}  // namespace

TextView no_kernel(Firmware& firmware, const Survey& survey, KernelUse use) {
    KernelStart start;
    return plan(firmware, survey, use, start);
}

TextView start_kernel(Firmware& firmware, const Survey& survey, KernelUse use) {
    KernelStart start;
    if (const TextView reason = plan(firmware, survey, use, start); !reason.empty()) return reason;
    firmware.print(Text<400>()
                       .add("Starts the kernel ")
                       .add(start.kernel.path)
                       .add(" of disk ")
                       .number(start.kernel.disk + 1)
                       .add(".\n"));
    return firmware.start_kernel(start.kernel, start.content, start.has_initrd ? &start.initrd : nullptr,
                                 start.command_line);
}

}  // namespace dupengine::efi
