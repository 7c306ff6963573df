#pragma once
// Both ends of one duplication of a running machine (busy_machine.h) in one process: what `clone` offers, and
// what `receive --live` does until it would become the other machine. Between them is a network that cuts.
// Programs that use it are linked with dup_cli.

#include "engine/held_boot.h"
#include "machine/live_memory.h"
#include "tests/support/busy_machine.h"
#include "tests/support/cut_network.h"
#include "wire/connection.h"

namespace dupengine::test {

struct Duplication {
    std::string target;  ///< a disk, or a file
    std::vector<Cut> cuts = {};
    wire::Patience patience = {};
    /// When a connection was cut: the source's end makes another, and the target's end waits for it.
    bool source_goes_on = true, target_goes_on = true;
    bool hold_pause = false;  ///< until the connection was cut
    engine::CopyOptions options = {};
    std::optional<machine::LiveOptions> live = {};  ///< instead of BusyMachine::options()
    /// Told each round that is asked for, before there is an answer.
    std::function<void(std::uint32_t number)> before_round = [](std::uint32_t) {};
    /// Told each group of memory, before it goes.
    std::function<void(std::uint32_t number)> on_group = [](std::uint32_t) {};
    /// The target's end of a connection as it is used.
    std::function<std::unique_ptr<wire::Transport>(std::unique_ptr<wire::Transport>)> wrap = {};
};

struct Duplicated {
    std::optional<Error> source_error, target_error;  ///< empty: done
    Bytes image;                                      ///< that the target would become
    std::vector<engine::HeldBoot> held;               ///< what it would take along
    std::vector<machine::PauseReport> pauses;
    std::size_t cuts = 0, sends[2] = {0, 0};  ///< of the source's end, of the target's
    /// From the beginning of the pause to the end of the source's end.
    std::chrono::milliseconds source_took{};
    bool is_complete() const { return !target_error; }
};

/// The first round is one like any other, whatever there is to copy; all is held until it was taken.
Duplicated duplicate_live(BusyMachine& machine, const Duplication& how);

}  // namespace dupengine::test
