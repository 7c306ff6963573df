#include "efi/core/kernel.h"

namespace dupengine::efi {
namespace {

constexpr TextView kNoKernel = "the profile names no kernel";

/// What firmware is given.
struct KernelStart {
    FilePlace place;
    Bytes kernel, initrd;
    Text<2400> command_line;
};

// Whether what the profile says may be followed at all; the files are looked at when they are read.
TextView not_allowed(const Trust& trust, KernelUse use) {
    if (trust.wants_signatures() && use == KernelUse::kShell)
        return "nobody signed a command line that opens one";
    if (trust.secure_boot && !trust.wants_signatures())
        return "Secure Boot is on, and no key is here to check the initrd and the command line with";
    return {};
}

TextView read_files(Firmware& firmware, const BootSettings& boot, KernelStart& start) {
    FilePlace initrd = start.place;
    start.place.path.add(boot.kernel);
    initrd.path.add(boot.initrd);
    if (!boot.initrd.empty()) {
        if (!firmware.read_file(initrd, FileUse::kInitrd, start.initrd).empty())
            return "its initrd cannot be read";
        const TextView reason = not_vouched(firmware, initrd, SignedThing::kInitrd, start.initrd);
        if (!reason.empty()) return reason;
    }
    if (!firmware.read_file(start.place, FileUse::kProgram, start.kernel).empty())
        return "its kernel cannot be read";
    if (is_own_copy(start.kernel)) return "its kernel is dupengine.efi itself";
    return not_vouched(firmware, start.place, SignedThing::kKernel, start.kernel);
}

// All but the files.
TextView plan(const Trust& trust, const Survey& survey, KernelUse use, KernelStart& start) {
    const NodeProfile* profile = survey.profile();
    if (profile == nullptr) return survey.no_machine;
    const BootSettings& boot = profile->boot;
    if (boot.kernel.empty()) return kNoKernel;
    if (use == KernelUse::kReceive && boot.receive_disk.empty())
        return "the profile does not say which disk would be written (receive_disk)";
    if (use == KernelUse::kShell && boot.initrd.empty()) return "the profile names no initrd";
    if (const TextView reason = not_allowed(trust, use); !reason.empty()) return reason;
    if (const TextView reason = find_boot_partition(survey, start.place); !reason.empty()) return reason;
    start.command_line.add(boot.command_line);
    if (use != KernelUse::kAsIs && !boot.command_line.empty()) start.command_line.add(' ');
    if (use == KernelUse::kReceive) start.command_line.add("dupengine.receive=").add(boot.receive_disk);
    if (use == KernelUse::kShell) start.command_line.add("break=premount");
    return {};
}

}  // namespace

KernelFaults kernel_faults(Firmware& firmware, const Survey& survey) {
    KernelFaults faults;
    TextView of_files;
    bool has_read = false;
    for (KernelUse use : {KernelUse::kAsIs, KernelUse::kReceive, KernelUse::kShell}) {
        KernelStart start;
        TextView& fault = faults[static_cast<std::size_t>(use)];
        fault = plan(firmware.trust(), survey, use, start);
        if (!fault.empty()) continue;
        // They are large, and the same for all uses.
        if (!has_read) of_files = read_files(firmware, survey.profile()->boot, start);
        has_read = true;
        fault = of_files;
    }
    return faults;
}

TextView start_kernel(Firmware& firmware, const Survey& survey, KernelUse use) {
    KernelStart start;
    if (const TextView reason = plan(firmware.trust(), survey, use, start); !reason.empty()) return reason;
    // Once more: what is started is what was checked, and not what was there when the menu was made.
    if (const TextView reason = read_files(firmware, survey.profile()->boot, start); !reason.empty())
        return reason;
    firmware.print(Text<400>()
                       .add("Starts the kernel ")
                       .add(start.place.path)
                       .add(" of disk ")
                       .number(start.place.disk + 1)
                       .add(".\n"));
    return firmware.start_kernel(start.place, start.kernel, start.initrd, start.command_line);
}

}  // namespace dupengine::efi
