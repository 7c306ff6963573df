// dupengine receive TARGET: waits for an enrolled machine's `copy SOURCE dup://HOST`, and makes that copy: an
// ordinary one, planned, guarded and verified here, whose source is at the other machine. See
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
#include "machine/facts.h"
#include "machine/image_letter.h"
#include "machine/snapshot_device.h"

namespace dupengine::cli {
namespace {

struct ReceiveArguments {
    CopyArguments copy;
    std::string listen;
    bool live = false;
    RestartOptions restart;
};

// What is wrong with the target is found before anybody is waited for. It is looked at again later.
void look_at_target(const CopyArguments& arguments) {
    if (arguments.create) return;
    block::refuse_if_read_only(arguments.target);
    engine::refuse_if_in_use("", arguments.target, engine::BusySource::kRefuse);
}

void refuse_if_it_cannot_be_live() {
    const auto obstacles = machine::obstacles_to_restoring(machine::read_facts());
    if (!obstacles.empty())
        throw_error(Code::kUnsupported, "this machine cannot become another one while that runs: {}",
                    fmt::join(obstacles, "; "));
}

// What is offered and what is wanted have to be the same thing.
void agree_on_memory(RemoteSource& remote, const std::string& target, bool is_live) {
    try {
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
        const auto differences = differences_from(remote.remote_reader(), target);
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

void log(const std::string& line) {
    fmt::print(stderr, "dupengine: {}\n", printable(line, Charset::kUtf8));
}

// Whoever only asks is answered, whatever comes of it, and the next one is waited for.
bool was_a_question(RemoteSource& remote, const ReceiveArguments& arguments) {
    if (!remote.has_memory() || !remote.remote_reader().memory()->is_question) return false;
    try {
        if (!arguments.live)
            throw_error(Code::kRefused, "this end takes disks only (receive --live, or clone --disks-only)");
        wire::Result answer;
        answer.target = arguments.copy.target;
        answer.notes = differences_from(remote.remote_reader(), arguments.copy.target);
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
    machine::Letter letter(memory.shape().key, engine::encode_held_boot(remote.held_boot()));
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
        restart_to_receive({copy.target, arguments.listen, arguments.live, copy.peers}, arguments.restart,
                           !globals.yes);
        return 0;
    }
    if (arguments.live) refuse_if_it_cannot_be_live();
    if (image::parse_reference(copy.target) || wire::parse_peer_reference(copy.target))
        throw_error(Code::kUsage, "{}: only a disk or a raw image file can receive", copy.target);
    look_at_target(copy);
    const wire::Credentials enrolled(copy.peers.folder);
    wire::Listener listener(wire::parse_listening_address(arguments.listen, wire::kPeerPort));
    std::shared_ptr<CopySource> source;
    std::stop_token stopped;
    {
        const InterruptWatch interrupt;
        stopped = interrupt.token();
        fmt::print(stderr, "waiting on {} for a source for {}\n", listener.address().text(), copy.target);
        std::shared_ptr<RemoteSource> remote;
        // One that was answered is gone before the next is waited for: it would take that for its own.
        for (remote = RemoteSource::wait(listener, copy.peers, log, stopped);
             was_a_question(*remote, arguments);
             remote = RemoteSource::wait(listener, copy.peers, log, stopped))
            remote.reset();
        source = std::make_shared<CopySource>(std::move(remote));
    }
    // Also what came until the last moment of the watch.
    if (stopped.stop_requested())
        throw_error(Code::kRefused, "stopped on request, before anything was written");
    copy.source = source->reader().name();
    agree_on_memory(*source->remote(), copy.target, arguments.live);
    const int status = run_copy(copy, globals, source);
    if (arguments.live && status == 0 && !globals.dry_run) become(*source->remote(), copy.target);
    return status;
}

}  // namespace

void add_receive(CLI::App& app, Globals& globals, Action& action) {
    CLI::App* verb =
        app.add_subcommand("receive", "Wait for another machine's copy and write it to a disk of this one");
    const auto arguments = std::make_shared<ReceiveArguments>();
    verb->add_option("TARGET", arguments->copy.target, "Block device or raw image file to overwrite")
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
