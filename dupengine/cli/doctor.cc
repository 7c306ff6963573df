// dupengine doctor: what this machine can do, and what stops the rest. Looks only. See dupengine-doctor(8).

#include <unistd.h>

#include <memory>
#include <nlohmann/json.hpp>

#include "base/subprocess.h"
#include "base/units.h"
#include "block/open.h"
#include "cli/ask_alike.h"
#include "cli/command.h"
#include "cli/drawing.h"
#include "cli/interrupt.h"
#include "cli/peers_option.h"
#include "cli/terminal.h"
#include "engine/grow.h"
#include "engine/refit/shrink_programs.h"
#include "machine/egress_gate.h"
#include "machine/facts.h"
#include "machine/quiesce_participants.h"
#include "machine/write_tracker.h"
#include "wire/credentials.h"
#include "wire/peer_reference.h"

namespace dupengine::cli {
namespace {

using Json = nlohmann::ordered_json;

// One thing that can be asked of this machine.
struct Ability {
    std::string name;                ///< as one would type it: "copy --grow", "clone --disks-only"
    std::string of;                  ///< what kind: "ext4"; empty for the thing as a whole
    std::vector<std::string> lacks;  ///< why it cannot be had; empty: it can
    std::vector<std::string> notes;  ///< what is worth knowing all the same
};

struct DoctorArguments {
    PeerOptions peers;
    std::string against;
    std::vector<std::string> disks;
};

Ability with_programs(std::string name, std::string of, const std::vector<const char*>& programs,
                      const std::string& packages) {
    Ability ability{std::move(name), std::move(of), {}, {}};
    for (const char* program : programs)
        if (!program_exists(program))
            ability.lacks.push_back(
                fmt::format("the program {} is missing (Debian packages {})", program, packages));
    return ability;
}

Ability as_root(std::string name) {
    Ability ability{std::move(name), "", {}, {}};
    if (::geteuid() != 0) ability.lacks.emplace_back("needs root, for block devices");
    return ability;
}

Ability clone_of_disks() {
    Ability ability = as_root("clone --disks-only");
    const std::string obstacle = machine::WriteTracker::obstacle();
    ability.notes.push_back(
        obstacle.empty() ? "writes would be told by the kernel (--track bpf)"
                         : "writes would be found by comparing digests (--track digest), and the pause takes "
                           "as long as reading all that is in use: " +
                               obstacle);
    for (const machine::MountedFilesystem& filesystem : machine::mounted_filesystems())
        if (!filesystem.can_freeze)
            ability.notes.push_back(fmt::format("{}: {} cannot be frozen; it would be written out instead",
                                                filesystem.point, filesystem.type));
    try {
        const auto found = machine::find_participants();
        machine::require_callable(found);
        if (!found.participants.empty())
            ability.notes.push_back(fmt::format("{} participants would be prepared (dupengine quiesce list)",
                                                found.participants.size()));
    } catch (const Error& e) {
        ability.lacks.emplace_back(e.what());
    }
    return ability;
}

Ability clone_with_memory() {
    Ability ability = as_root("clone");
    for (const std::string& obstacle : machine::obstacles_to_snapshots(machine::read_facts()))
        ability.lacks.push_back(obstacle);
    for (const std::string& obstacle : {machine::WriteTracker::obstacle(), machine::EgressGate::obstacle()})
        if (!obstacle.empty()) ability.lacks.push_back(obstacle);
    return ability;
}

Ability receive_live() {
    Ability ability = as_root("receive --live");
    for (const std::string& obstacle : machine::obstacles_to_restoring(machine::read_facts()))
        ability.lacks.push_back(obstacle);
    return ability;
}

Ability to_peers(const std::string& folder) {
    Ability ability{"copy to and from dup://", "", {}, {}};
    try {
        const wire::Credentials credentials(folder);
        ability.notes.push_back("this machine is enrolled as " + credentials.identity().name);
    } catch (const Error& e) {
        ability.lacks.emplace_back(e.what());
    }
    return ability;
}

// What is said of several kinds alike is said once.
void add(std::vector<Ability>& abilities, Ability ability) {
    for (Ability& known : abilities)
        if (known.name == ability.name && known.lacks == ability.lacks) {
            known.of += ", " + ability.of;
            return;
        }
    abilities.push_back(std::move(ability));
}

std::vector<Ability> look(const DoctorArguments& arguments) {
    std::vector<Ability> abilities = {as_root("copy, verify, inspect")};
    for (const engine::Needs& needs : engine::needs_of_growing())
        add(abilities, with_programs("copy --grow", needs.filesystem, needs.programs, needs.packages));
    for (const engine::Shrinker& shrinker : engine::all_shrinkers())
        add(abilities, with_programs("copy --shrink", shrinker.type, shrinker.programs, shrinker.package));
    abilities.push_back(with_programs("copy from qcow2", "", {"qemu-img", "qemu-nbd"}, "qemu-utils"));
    abilities.push_back(
        with_programs("assume", "FAT", {"mcopy", "mdel", "mdir", "mdu", "mmd", "mmove", "mrd"}, "mtools"));
    abilities.push_back(to_peers(arguments.peers.folder));
    abilities.push_back(clone_of_disks());
    abilities.push_back(clone_with_memory());
    abilities.push_back(receive_live());
    return abilities;
}

// Whether the machine that waits there could become this one.
Ability against(const DoctorArguments& arguments) {
    const auto to = wire::parse_peer_reference(arguments.against);
    if (!to || !to->name.empty())
        throw_error(Code::kUsage, "{}: is not a machine that waits (dup://HOST)", arguments.against);
    if (arguments.disks.empty()) throw_error(Code::kUsage, "--against needs --disk, the disk that would go");
    const InterruptWatch interrupt;
    Ability ability{"clone", "onto " + to->address.text(), {}, {}};
    std::vector<std::uint64_t> sizes;
    for (const std::string& disk : arguments.disks)
        sizes.push_back(block::open_source(disk)->geometry().size_bytes);
    ability.lacks = ask_alike(to->address, arguments.peers, sizes, interrupt.token());
    return ability;
}

Json to_json(const machine::Facts& facts, const std::vector<Ability>& abilities) {
    Json list = Json::array();
    for (const Ability& ability : abilities)
        list.push_back({{"name", ability.name},
                        {"of", ability.of},
                        {"possible", ability.lacks.empty()},
                        {"lacks", ability.lacks},
                        {"notes", ability.notes}});
    return {{"kernel", facts.release},
            {"memory_bytes", facts.memory_bytes},
            {"memory_in_use_bytes", facts.memory_in_use_bytes},
            {"abilities", list}};
}

std::string draw(const machine::Facts& facts, const std::vector<Ability>& abilities,
                 const DrawingStyle& style) {
    std::vector<Row> rows;
    for (const Ability& ability : abilities) {
        Row row{{ability.lacks.empty() ? "yes" : "no", ability.name, ability.of}, {}};
        for (const auto* lines : {&ability.lacks, &ability.notes})
            row.remarks.insert(row.remarks.end(), lines->begin(), lines->end());
        rows.push_back(std::move(row));
    }
    return fmt::format("Linux {}, {} of memory, {} of it in use\n\n", printable(facts.release, style.charset),
                       format_size(facts.memory_bytes), format_size(facts.memory_in_use_bytes)) +
           draw_table({{"can"}, {"what"}, {"of"}}, rows, style);
}

int run_doctor(const DoctorArguments& arguments, const Globals& globals) {
    const machine::Facts facts = machine::read_facts();
    std::vector<Ability> abilities = look(arguments);
    if (!arguments.against.empty()) abilities.push_back(against(arguments));
    if (globals.json)
        fmt::print("{}\n", to_json(facts, abilities).dump(2, ' ', false, Json::error_handler_t::replace));
    else
        fmt::print("{}", draw(facts, abilities, look_at_terminal(STDOUT_FILENO).style));
    return 0;
}

}  // namespace

void add_doctor(CLI::App& app, Globals& globals, Action& action) {
    CLI::App* verb = app.add_subcommand("doctor", "Show what this machine can do, and what stops the rest");
    const auto arguments = std::make_shared<DoctorArguments>();
    verb->add_option("--against", arguments->against,
                     "Also whether the machine that waits there (receive --live) could become this one")
        ->option_text("dup://HOST");
    verb->add_option("--disk", arguments->disks,
                     "The disk of this machine that would go there; each of several")
        ->option_text("DISK")
        ->allow_extra_args(false);
    add_peer_options(*verb, arguments->peers);
    add_json_option(*verb, globals);
    verb->callback([arguments, &globals, &action] {
        action = [=, &globals] { return run_doctor(*arguments, globals); };
    });
}

}  // namespace dupengine::cli
