#pragma once
// Programs that firmware loads from memory and runs.

#include "efi/firmware/files.h"

namespace dupengine::efi {

/// Where a program was read from: it looks for its own files there.
struct ProgramSource {
    Handle partition = nullptr;
    TextView path;
    Bytes content;
};

/// Runs it with these options, which become one text. Returns why it came back.
TextView run_program(BootServices& boot, Handle self, const ProgramSource& source, TextView options);

/// What a kernel asks for its initrd, as long as this lives (drivers/firmware/efi/libstub of Linux).
class OfferedInitrd {
  public:
    OfferedInitrd(BootServices& boot, Bytes content);
    ~OfferedInitrd();
    OfferedInitrd(const OfferedInitrd&) = delete;
    OfferedInitrd& operator=(const OfferedInitrd&) = delete;
    bool offered() const { return offered_; }

  private:
    static Status EFIAPI load(LoadFile2* self, DevicePath*, bool boot_policy, std::uint64_t* bytes,
                              void* buffer);

    // The first member: firmware hands back its address.
    LoadFile2 protocol_{&load};
    BootServices& boot_;
    Bytes content_;
    Handle handle_ = nullptr;
    std::array<std::byte, 24> path_{};
    bool offered_ = false;
};

}  // namespace dupengine::efi
