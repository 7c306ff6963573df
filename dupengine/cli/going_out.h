#pragma once
// The last steps of a duplicate that has become somebody, where all programs run again: what manages the
// network is started anew, because it knows the source's addresses until then; after that the gate is left
// and the links go up, one by one. If that did not go well nobody can tell whose frames would go out: the
// links stay down and the gate stays on them.

#include <string>
#include <vector>

#include "machine/egress_gate.h"
#include "machine/links.h"

namespace dupengine::cli {

using Call = std::vector<std::string>;

/// Waits for it. False if it failed, with a note.
bool run_call(const Call& call, std::vector<std::string>& notes);

/// `links` are those that the profile names, configured before. All of `managers` are run, and if one of them
/// fails, or `is_safe` is false, no link goes up, and the answer is false. Whatever cannot be is worth a
/// note, and stays down.
bool go_out(const std::vector<machine::LinkSettings>& links, const std::vector<Call>& managers, bool is_safe,
            machine::EgressGate& gate, std::vector<std::string>& notes);

/// False, with a note, if a step with this link threw.
template <typename Step>
bool try_link(const machine::LinkSettings& link, std::vector<std::string>& notes, Step step) {
    try {
        step(link);
        return true;
    } catch (const Error& e) {
        notes.push_back(fmt::format("{}: stays down: {}", link.name, e.what()));
        return false;
    }
}

}  // namespace dupengine::cli
