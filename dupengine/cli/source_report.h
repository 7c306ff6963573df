#pragma once
// What the machine that is duplicated tells of its end: how long who waited, and how much was written
// meanwhile. It goes to the target with the last round (wire/message.h), as JSON.

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "machine/hot_disk.h"
#include "machine/live_memory.h"

namespace dupengine::cli {

nlohmann::ordered_json rounds_json(const machine::HotReport& report, std::size_t participants);
nlohmann::ordered_json memory_json(const machine::LiveReport& report);

/// Of many rounds the last ones, so that it is short enough for a message. `memory`: null without.
std::string source_report(const machine::HotReport& disk, const machine::LiveReport* memory,
                          std::size_t participants);

/// For a person at the target, a line each. It comes from another machine: what is not understood is left
/// out.
std::vector<std::string> source_notes(const std::string& report);

}  // namespace dupengine::cli
