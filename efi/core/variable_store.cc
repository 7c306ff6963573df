#include "efi/core/variable_store.h"

#include "profiles/slot_format.h"

namespace dupengine::efi {

bool has_variable_store(Firmware& firmware) {
    std::array<std::byte, 1> one;
    for (const TextView name : profiles::slot::kVariables)
        if (firmware.read_variable(name, one)) return true;
    return false;
}

TextView read_newest_variable(Firmware& firmware, Buffer scratch, StoredProfile& found) {
    std::array<TextView, 2> reasons = {"it is not there", "it is not there"};
    std::array<StoredProfile, 2> seen;
    for (std::size_t i = 0; i < seen.size(); ++i) {
        const Buffer into = scratch.subspan(i * kSlotScratchBytes, kSlotScratchBytes);
        if (const auto size = firmware.read_variable(profiles::slot::kVariables[i], into))
            reasons[i] = decode_short_slot(into.first(*size), seen[i]);
    }
    std::size_t newest = 0;
    if (const TextView reason = choose_slot(reasons, seen, newest); !reason.empty()) return reason;
    found = seen[newest];
    return {};
}

}  // namespace dupengine::efi
