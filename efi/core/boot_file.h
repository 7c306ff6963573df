#pragma once
// The files that [boot] names, from a partition or from a web server. What may pass (a network without an
// address, a server that is away or stops half-way) is waited for, with the time that is left on the console;
// a key ends that.

#include "efi/core/firmware.h"

namespace dupengine::efi {

/// Reads a file whole; `place.path` may be a web address. Returns as Firmware::read_file().
TextView read_boot_file(Firmware& firmware, const FilePlace& place, FileUse use, Bytes& content);

/// False: somebody pressed a key.
bool wait_for_another_try(Firmware& firmware);

/// How often it is tried, and how long is waited between.
inline constexpr unsigned kMostFetches = 30;
inline constexpr std::uint32_t kSecondsBetween = 10;

/// Asks a web server until it answers: `ask` returns a WebAnswer. Returns nothing, or why it was given up.
template <typename Ask>
TextView ask_patiently(Firmware& firmware, const Ask& ask) {
    for (unsigned tries = 1;; ++tries) {
        const WebAnswer answer = ask();
        if (answer.reason.empty()) return {};
        firmware.print(Text<200>().add("Not fetched: ").add(answer.reason).add(".\n"));
        if (!answer.may_pass || tries == kMostFetches || !wait_for_another_try(firmware))
            return answer.reason;
    }
}

}  // namespace dupengine::efi
