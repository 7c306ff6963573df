#pragma once
// How fast the processor's time stamp counter runs, beside the kernel's own clock. A kernel that keeps time
// by it found that out when it started, and does not ask again when it goes on on another machine.
//
// Looks only; takes a tenth of a second.

#include <cstdint>

namespace dupengine::machine {

struct TscRate {
    std::uint64_t khz = 0;   ///< 0: not known
    unsigned error_ppm = 0;  ///< how far the measurement may be off
    bool operator==(const TscRate&) const = default;
};

TscRate measure_tsc();

/// Whether a clock that was set to the one keeps time by the other: as well as what corrects clocks can mend
/// (500 ppm: adjtimex(2)). What is not known is taken for right.
bool keeps_time(const TscRate& source, const TscRate& target);

}  // namespace dupengine::machine
