#pragma once
// What two machines must have alike for the one to become the other while it runs: the kernel, what the
// firmware says of memory, and what the processor can do. Told as lines of text, so that the other machine
// can say what differs before anything is paused.
//
// Looks only.

#include <functional>
#include <set>
#include <string>
#include <vector>

#include "layout/in_use.h"
#include "machine/tsc_rate.h"

namespace dupengine::machine {

struct Likeness {
    std::string kernel;                   ///< /proc/version: its build
    std::vector<std::string> memory_map;  ///< of the firmware: "0x1000-0x9ffff System RAM", ascending
    std::string vendor;                   ///< of the processor
    std::set<std::string> features;       ///< of every processor
    std::size_t processors = 0;
    std::string clock;             ///< by which the kernel keeps time: "tsc"; empty: not known
    std::set<std::string> clocks;  ///< by which it could
    TscRate tsc;                   ///< not known, if no clock is
    bool operator==(const Likeness&) const = default;
};

Likeness read_likeness(const layout::SystemRoots& roots = {},
                       const std::function<TscRate()>& measure = measure_tsc);

std::string to_text(const Likeness& likeness);
/// Lines that are not known are left out. Throws kPeer if there is no kernel in it.
Likeness parse_likeness(const std::string& text);

/// Why `target` cannot become `source`, each as one line; empty: it can.
std::vector<std::string> differences(const Likeness& source, const Likeness& target);

}  // namespace dupengine::machine
