// dupengine receive TARGET...: waits for an enrolled machine's `copy SOURCE dup://HOST`, and makes that copy:
// an ordinary one, planned, guarded and verified here, whose source is at the other machine. See
// dupengine-receive(8).

#include <unistd.h>

#include "base/units.h"
#include "block/open.h"
#include "cli/ask_alike.h"
#include "cli/copy_arguments.h"
#include "cli/interrupt.h"
#include "cli/peers_option.h"
#include "cli/restart.h"
#include "cli/text.h"
#include "cli/wake_letter.h"
#include "machine/facts.h"
#include "machine/image_letter.h"
#include "machine/snapshot_device.h"

namespace dupengine::cli {
namespace {

struct ReceiveArguments {
    CopyArguments copy;
    std::vector<std::string> targets;
    std::string listen;
    bool live = false;
    RestartOptions restart;
};

// What is wrong with the target is found before anybody is waited for. It is looked at again later.
void look_at_targets(const ReceiveArguments& arguments) {
    for (const std::string& target : arguments.targets) {
        if (image::parse_reference(target) || wire::parse_peer_reference(target))
            throw_error(Code::kUsage, "{}: only a disk or a raw image file can receive", target);
        if (arguments.copy.create) continue;
        block::refuse_if_read_only(target);
        engine::refuse_if_in_use("", target, engine::BusySource::kRefuse);
    }
}

// Disks have no names that both machines know: they go in the order in which each end names them.
void refuse_other_number(const RemoteSource& remote, const ReceiveArguments& arguments) {
    if (remote.disk_count() == arguments.targets.size()) return;
    std::string names;
    for (std::size_t i = 0; i < remote.disk_count(); ++i)
        names += (names.empty() ? "" : ", ") + remote.disk(i).name();
    throw_error(Code::kRefused,
                "{} disks come ({}), and {} wait here ({}): receive needs a disk for each, in their order",
                remote.disk_count(), names, arguments.targets.size(), fmt::join(arguments.targets, ", "));
}

void refuse_if_it_cannot_be_live() {
    const auto obstacles = machine::obstacles_to_restoring(machine::read_facts());
    if (!obstacles.empty())
        throw_error(Code::kUnsupported, "this machine cannot become another one while that runs: {}",
                    fmt::join(obstacles, "; "));
}

// What is offered and what is wanted have to be the same thing.
void agree(RemoteSource& remote, const ReceiveArguments& arguments) {
    const bool is_live = arguments.live;
    try {
        refuse_other_number(remote, arguments);
        if (is_live && !remote.has_memory())
            throw_error(
                Code::kRefused,
                "{}: comes without memory: this end waits for a whole running machine (receive --live)",
                remote.reader().name());
        if (!is_live && remote.has_memory())
            throw_error(
                Code::kRefused,
                "{}: comes with the memory of its machine; this end takes disks only (receive --live, "
                "or clone --disks-only)",
                remote.reader().name());
        if (!is_live) return;
        const auto differences = differences_from(remote, arguments.targets);
        if (!differences.empty())
            throw_error(
                Code::kUnsupported,
                "this machine cannot become the other while that runs: {}. What works: clone --disks-only, "
                "and starting from the disk",
                printable(fmt::format("{}", fmt::join(differences, "; ")), Charset::kUtf8));
        remote.take_memory();
    } catch (const Error& e) {
        remote.abort(e);
        throw;
    }
}

std::string name_targets(const ReceiveArguments& arguments) {
    return fmt::format("{}", fmt::join(arguments.targets, ", "));
}

void log(const std::string& line) {
    fmt::print(stderr, "dupengine: {}\n", printable(line, Charset::kUtf8));
}

// Whoever only asks is answered, whatever comes of it, and the next one is waited for.
bool was_a_question(RemoteSource& remote, const ReceiveArguments& arguments) {
    if (!remote.has_memory() || !remote.remote_reader().memory()->is_question) return false;
    try {
        if (!arguments.live)
            throw_error(Code::kRefused, "this end takes disks only (receive --live, or clone --disks-only)");
        refuse_other_number(remote, arguments);
        wire::Result answer;
        answer.target = name_targets(arguments);
        answer.notes = differences_from(remote, arguments.targets);
        remote.finish(answer);
    } catch (const Error& e) {
        log(e.what());
        remote.abort(e);
    }
    return true;
}

// Does not return if it succeeds: then this machine is the other.
[[noreturn]] void become(RemoteSource& remote, const std::string& target) {
    machine::ReceivedMemory& memory = remote.memory();
    fmt::print(stderr, "taking over {} of memory; this machine is the other one from here on\n",
               format_size(memory.image_pages() * codec::kPageBytes));
    ::sync();
    machine::Letter letter(memory.shape().key, encode_letter({engine::encode_held_boot(remote.held_boot()),
                                                              remote.remote_reader().report()}));
    try {
        machine::restore_image([&](std::span<std::byte> page) {
            if (!memory.next_page(page)) {
                letter.check();
                return false;
            }
            letter.put_into(page);
            return true;
        });
    } catch (Error& e) {
        e.add_context(fmt::format("{} stays marked unfinished: nothing starts from it", target));
        throw;
    }
}

int run_receive(const ReceiveArguments& arguments, const Globals& globals) {
    CopyArguments copy = arguments.copy;
    copy.peers.check();
    if (arguments.restart.is_wanted) {
        restart_to_receive({arguments.targets, arguments.listen, arguments.live, copy.peers},
                           arguments.restart, !globals.yes);
        return 0;
    }
    if (arguments.live) refuse_if_it_cannot_be_live();
    look_at_targets(arguments);
    const wire::Credentials enrolled(copy.peers.folder);
    wire::Listener listener(wire::parse_listening_address(arguments.listen, wire::kPeerPort));
    std::shared_ptr<RemoteSource> remote;
    std::stop_token stopped;
    {
        const InterruptWatch interrupt;
        stopped = interrupt.token();
        fmt::print(stderr, "waiting on {} for a source for {}\n", listener.address().text(),
                   name_targets(arguments));
        // One that was answered is gone before the next is waited for: it would take that for its own.
        for (remote = RemoteSource::wait(listener, copy.peers, log, stopped);
             was_a_question(*remote, arguments);
             remote = RemoteSource::wait(listener, copy.peers, log, stopped))
            remote.reset();
    }
    // Also what came until the last moment of the watch.
    if (stopped.stop_requested())
        throw_error(Code::kRefused, "stopped on request, before anything was written");
    agree(*remote, arguments);
    std::vector<GivenDisk> disks;
    for (std::size_t i = 0; i < arguments.targets.size(); ++i)
        disks.push_back({std::make_shared<CopySource>(remote, i), arguments.targets[i]});
    const int status = run_copy(copy, globals, disks);
    disks.clear();
    if (arguments.live && status == 0 && !globals.dry_run) become(*remote, name_targets(arguments));
    return status;
}

}  // namespace

void add_receive(CLI::App& app, Globals& globals, Action& action) {
    CLI::App* verb =
        app.add_subcommand("receive", "Wait for another machine's copy and write it to a disk of this one");
    const auto arguments = std::make_shared<ReceiveArguments>();
    verb->add_option("TARGET", arguments->targets,
                     "Block device or raw image file to overwrite; of several disks each, in their order")
        ->required();
    verb->add_option("--listen", arguments->listen, "Where to wait (all addresses, port 7433)")
        ->option_text("ADDR:PORT");
    verb->add_flag("--live", arguments->live,
                   "Take a whole running machine, with its memory: this machine becomes that one");
    add_restart_options(*verb, arguments->restart);
    add_peer_options(*verb, arguments->copy.peers);
    add_target_options(*verb, arguments->copy);
    add_plan_options(*verb, globals);
    add_json_option(*verb, globals);
    add_progress_option(*verb, globals);
    verb->callback([arguments, &globals, &action] {
        action = [=, &globals] { return run_receive(*arguments, globals); };
    });
}

}  // namespace dupengine::cli
