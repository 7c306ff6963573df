#include "efi/core/kernel.h"

#include "efi/core/boot_file.h"

namespace dupengine::efi {
namespace {

constexpr TextView kNoKernel = "the profile names no kernel";

/// What firmware is given.
struct KernelStart {
    FilePlace place, initrd_place;
    Bytes kernel, initrd;
    Text<2700> command_line;
};

// Whether what the profile says may be followed at all; the files are looked at when they are read.
TextView not_allowed(const Trust& trust, KernelUse use) {
    if (trust.wants_signatures() && use == KernelUse::kShell)
        return "nobody signed a command line that opens one";
    if (trust.secure_boot && !trust.wants_signatures())
        return "Secure Boot is on, and no key is here to check the initrd and the command line with";
    return {};
}

/// What is far is fetched when it is started, and not to see whether it could be.
enum class Far { kLeave, kFetch };

bool is_left(const FilePlace& place, Far far) {
    return far == Far::kLeave && is_web_address(place.path);
}

TextView read_initrd(Firmware& firmware, KernelStart& start, Far far) {
    if (start.initrd_place.path.empty() || is_left(start.initrd_place, far)) return {};
    if (!read_boot_file(firmware, start.initrd_place, FileUse::kInitrd, start.initrd).empty())
        return "its initrd cannot be read";
    return not_vouched(firmware, start.initrd_place, SignedThing::kInitrd, start.initrd);
}

TextView read_files(Firmware& firmware, KernelStart& start, Far far) {
    if (const TextView reason = read_initrd(firmware, start, far); !reason.empty()) return reason;
    if (is_left(start.place, far)) return {};
    if (!read_boot_file(firmware, start.place, FileUse::kProgram, start.kernel).empty())
        return "its kernel cannot be read";
    if (is_own_copy(start.kernel)) return "its kernel is dupengine.efi itself";
    return not_vouched(firmware, start.place, SignedThing::kKernel, start.kernel);
}

// What comes from a web server needs no partition.
TextView find_places(const Survey& survey, const BootSettings& boot, KernelStart& start) {
    for (TextView path : {boot.kernel.view(), boot.initrd.view()}) {
        WebAddress address;
        const TextView reason = is_web_address(path) ? read_web_address(path, address)
                                : path.empty()       ? TextView()
                                                     : find_boot_partition(survey, start.place);
        if (!reason.empty()) return reason;
    }
    start.initrd_place = start.place;
    start.place.path.add(boot.kernel);
    start.initrd_place.path.add(boot.initrd);
    return {};
}

// All but the files.
TextView plan(const Trust& trust, const Survey& survey, KernelUse use, KernelStart& start) {
    const NodeProfile* profile = survey.profile();
    if (profile == nullptr) return survey.no_machine;
    const BootSettings& boot = profile->boot;
    if (boot.kernel.empty()) return kNoKernel;
    if (use == KernelUse::kRestore && boot.restore_from.empty())
        return "the profile does not say from where (restore_from)";
    if ((use == KernelUse::kReceive || use == KernelUse::kRestore) && boot.receive_disk.empty())
        return "the profile does not say which disk would be written (receive_disk)";
    if (use == KernelUse::kShell && boot.initrd.empty()) return "the profile names no initrd";
    if (const TextView reason = not_allowed(trust, use); !reason.empty()) return reason;
    if (const TextView reason = find_places(survey, boot, start); !reason.empty()) return reason;
    start.command_line.add(boot.command_line);
    if (use != KernelUse::kAsIs && !boot.command_line.empty()) start.command_line.add(' ');
    if (use == KernelUse::kReceive) start.command_line.add("dupengine.receive=").add(boot.receive_disk);
    if (use == KernelUse::kRestore)
        start.command_line.add("dupengine.copy=")
            .add(boot.restore_from)
            .add(" dupengine.target=")
            .add(boot.receive_disk);
    if (use == KernelUse::kShell) start.command_line.add("break=premount");
    return {};
}

}  // namespace

KernelFaults kernel_faults(Firmware& firmware, const Survey& survey) {
    KernelFaults faults;
    TextView of_files;
    bool has_read = false;
    for (KernelUse use : {KernelUse::kAsIs, KernelUse::kReceive, KernelUse::kRestore, KernelUse::kShell}) {
        KernelStart start;
        TextView& fault = faults[static_cast<std::size_t>(use)];
        fault = plan(firmware.trust(), survey, use, start);
        if (!fault.empty()) continue;
        // They are large, and the same for all uses.
        if (!has_read) of_files = read_files(firmware, start, Far::kLeave);
        has_read = true;
        fault = of_files;
    }
    return faults;
}

TextView start_kernel(Firmware& firmware, const Survey& survey, KernelUse use) {
    KernelStart start;
    if (const TextView reason = plan(firmware.trust(), survey, use, start); !reason.empty()) return reason;
    // Once more: what is started is what was checked, and not what was there when the menu was made.
    if (const TextView reason = read_files(firmware, start, Far::kFetch); !reason.empty()) return reason;
    Text<400> line;
    line.add("Starts the kernel ").add(start.place.path);
    if (!is_web_address(start.place.path)) line.add(" of disk ").number(start.place.disk + 1);
    firmware.print(line.add(".\n"));
    return firmware.start_kernel(start.place, start.kernel, start.initrd, start.command_line);
}

}  // namespace dupengine::efi
