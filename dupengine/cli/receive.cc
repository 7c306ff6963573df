// dupengine receive TARGET: waits for an enrolled machine's `copy SOURCE dup://HOST`, and makes that copy: an
// ordinary one, planned, guarded and verified here, whose source is at the other machine. See
// dupengine-receive(8).

#include "block/open.h"
#include "cli/copy_arguments.h"
#include "cli/interrupt.h"
#include "cli/peers_option.h"
#include "cli/text.h"

namespace dupengine::cli {
namespace {

struct ReceiveArguments {
    CopyArguments copy;
    std::string listen;
};

// What is wrong with the target is found before anybody is waited for. It is looked at again later.
void look_at_target(const CopyArguments& arguments) {
    if (arguments.create) return;
    block::refuse_if_read_only(arguments.target);
    engine::refuse_if_in_use("", arguments.target, engine::BusySource::kRefuse);
}

int run_receive(const ReceiveArguments& arguments, const Globals& globals) {
    CopyArguments copy = arguments.copy;
    if (image::parse_reference(copy.target) || wire::parse_peer_reference(copy.target))
        throw_error(Code::kUsage, "{}: only a disk or a raw image file can receive", copy.target);
    look_at_target(copy);
    copy.peers.check();
    const wire::Credentials enrolled(copy.peers.folder);
    wire::Listener listener(wire::parse_address(arguments.listen, wire::kPeerPort));
    std::shared_ptr<CopySource> source;
    std::stop_token stopped;
    {
        const InterruptWatch interrupt;
        stopped = interrupt.token();
        fmt::print(stderr, "waiting on {} for a source for {}\n", listener.address().text(), copy.target);
        source = std::make_shared<CopySource>(RemoteSource::wait(
            listener, copy.peers,
            [](const std::string& line) {
                fmt::print(stderr, "dupengine: {}\n", printable(line, Charset::kUtf8));
            },
            stopped));
    }
    // Also what came until the last moment of the watch.
    if (stopped.stop_requested())
        throw_error(Code::kRefused, "stopped on request, before anything was written");
    copy.source = source->reader().name();
    return run_copy(copy, globals, source);
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
