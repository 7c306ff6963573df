#include "cli/going_out.h"

#include "base/error.h"
#include "base/subprocess.h"

namespace dupengine::cli {
namespace {

using namespace std::chrono_literals;

constexpr auto kCallTime = 30s;

// What managed it may have put it up meanwhile, with what it knew of the source.
void close_link(const machine::LinkSettings& link, std::vector<std::string>& notes) {
    const bool is_down = try_link(link, notes, [](const machine::LinkSettings& named) {
        for (const machine::NetworkDevice& device : machine::list_network_devices())
            if (device.name == named.name) machine::silence_devices({device});
    });
    if (is_down) notes.push_back(link.name + ": stays down: what manages the network was not started anew");
}

}  // namespace

bool run_call(const Call& call, std::vector<std::string>& notes) {
    try {
        RunOptions options;
        options.deadline = kCallTime;
        const RunResult result = run_program(call, options);
        if (result.status == 0) return true;
        notes.push_back(fmt::format("{}: exit status {}{}{}", fmt::join(call, " "), result.status,
                                    result.complaint().empty() ? "" : ": ", result.complaint()));
    } catch (const Error& e) {
        notes.emplace_back(e.what());
    }
    return false;
}

bool go_out(const std::vector<machine::LinkSettings>& links, const std::vector<Call>& managers, bool is_safe,
            machine::EgressGate& gate, std::vector<std::string>& notes) {
    for (const Call& call : managers)
        is_safe = run_call(call, notes) && is_safe;
    for (const machine::LinkSettings& link : links) {
        if (!is_safe) {
            close_link(link, notes);
            continue;
        }
        if (!try_link(link, notes, machine::configure_link) || !link.up) continue;
        const bool is_free =
            try_link(link, notes, [&gate](const machine::LinkSettings& named) { gate.leave(named.name); });
        if (is_free) try_link(link, notes, machine::raise_link);
    }
    if (links.empty())
        notes.emplace_back("the profile names no links: frames leave this machine after its next start only");
    return is_safe;
}

}  // namespace dupengine::cli
