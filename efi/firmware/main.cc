// dupengine.efi begins here.

#include "efi/core/application.h"
#include "efi/firmware/uefi.h"

using namespace dupengine::efi;

extern "C" EFIAPI Status efi_main(Handle self, SystemTable* system) {
    // Firmware restarts a machine whose program takes five minutes; this one waits for people.
    system->boot->set_watchdog(0, 0, 0, nullptr);
    // Larger than the stack wants to hold. Memory that it makes ready is in the program's own, and zero.
    static Survey survey;
    alignas(4096) static std::array<std::byte, kDialogScratchBytes> scratch;
    Uefi firmware(*system, self);
    firmware.print(Text<200>().add("\ndupengine " DUPENGINE_VERSION ", before the operating system\n"));
    firmware.announce(DUPENGINE_VERSION);
    firmware.find_disks();
    run_application(firmware, scratch, survey);
    return kSuccess;
}
