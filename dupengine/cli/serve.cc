// dupengine serve NAME=SOURCE...: offers disks, files or images to enrolled machines, until it is stopped.
// Any number of them read at a time; none writes. See dupengine-serve(8).

#include <unistd.h>

#include <atomic>
#include <deque>
#include <mutex>
#include <semaphore>
#include <thread>

#include "base/random.h"
#include "base/units.h"
#include "cli/interrupt.h"
#include "cli/offered.h"
#include "cli/peers_option.h"
#include "cli/terminal.h"
#include "cli/text.h"
#include "cli/version.h"

namespace dupengine::cli {
namespace {

using namespace std::chrono_literals;

// Connections at a time; who comes besides waits to be taken.
constexpr int kMostConnections = 16;

struct ServeArguments {
    std::vector<std::string> offers;
    std::string listen;
    CopyArguments source;
};

class Server {
  public:
    Server(const wire::Offer& offer, const std::string& peers_folder, const std::stop_token& stop)
        : offer_(offer), folder_(peers_folder), stop_(stop) {}

    void run(wire::Listener& listener) {
        while (!stop_.stop_requested()) {
            if (!free_.try_acquire_for(100ms)) continue;
            auto transport = listener.accept(wire::after(1h), stop_);
            forget_ended();
            if (transport == nullptr) {
                free_.release();
                continue;
            }
            start(std::move(transport));
        }
        threads_.clear();  // joins
    }

  private:
    struct Conversation {
        std::atomic<bool> is_over{false};
        std::jthread thread;
    };

    void start(std::unique_ptr<wire::Transport> transport) {
        Conversation& conversation = threads_.emplace_back();
        conversation.thread = std::jthread([this, &conversation, shared = std::move(transport)]() mutable {
            talk(std::move(shared));
            conversation.is_over = true;
            free_.release();
        });
    }

    void forget_ended() {
        while (!threads_.empty() && threads_.front().is_over)
            threads_.pop_front();
    }

    void talk(std::unique_ptr<wire::Transport> transport) noexcept {
        std::string who = transport->name();
        try {
            const wire::Credentials credentials(folder_);
            wire::Peer peer = as_peer(wire::accept_channel(std::move(transport), credentials));
            who = peer.name;
            wire::AnswerOptions options;
            options.version = kVersion;
            options.stop = stop_;
            options.on_open = [&](const wire::OfferedDisk& disk) { say(who, "reads " + disk.name); };
            const wire::Answered answered = wire::answer(std::move(peer), offer_, options);
            say(who, answered.result ? fmt::format("done: {} is a copy; {} went over the wire",
                                                   answered.result->target, format_size(answered.bytes_sent))
                                     : "gone: " + answered.lost);
        } catch (const std::exception& e) {
            say(who, e.what());
        }
    }

    void say(const std::string& who, const std::string& what) {
        const std::lock_guard lock(mutex_);
        fmt::print(stderr, "{}: {}\n", printable(who, charset_), printable(what, charset_));
    }

    const wire::Offer& offer_;
    const std::string folder_;
    const std::stop_token stop_;
    const Charset charset_ = look_at_terminal(STDERR_FILENO).style.charset;
    std::mutex mutex_;
    std::counting_semaphore<kMostConnections> free_{kMostConnections};
    std::deque<Conversation> threads_;
};

int run_serve(const ServeArguments& arguments) {
    std::deque<OfferedSource> sources;
    SystemRandom random;
    wire::Offer offer(random);
    for (const std::string& text : arguments.offers) {
        const std::size_t equals = text.find('=');
        if (equals == std::string::npos || equals + 1 == text.size())
            throw_error(Code::kUsage, "{}: is not NAME=SOURCE", text);
        sources.emplace_back(text.substr(0, equals), text.substr(equals + 1), arguments.source);
        offer.add(sources.back().disk());
    }
    const wire::Credentials enrolled(arguments.source.peers);
    const InterruptWatch interrupt;
    wire::Listener listener(wire::parse_address(arguments.listen, wire::kPeerPort));
    fmt::print(stderr, "offering {} on {} as {}\n", offer.disks().size(), listener.address().text(),
               enrolled.identity().name);
    Server(offer, arguments.source.peers, interrupt.token()).run(listener);
    return 0;
}

}  // namespace

void add_serve(CLI::App& app, Globals& globals, Action& action) {
    CLI::App* verb = app.add_subcommand("serve", "Offer disks or images to enrolled machines");
    const auto arguments = std::make_shared<ServeArguments>();
    verb->add_option("OFFER", arguments->offers,
                     "NAME=SOURCE: a block device, raw image file or image (image:STORE#NAME), and how it is "
                     "asked for")
        ->required();
    verb->add_option("--listen", arguments->listen, "Where to wait (all addresses, port 7433)")
        ->option_text("ADDR:PORT");
    add_peers_option(*verb, arguments->source.peers);
    add_image_trust_options(*verb, arguments->source.trust);
    verb->add_flag("--busy-source", arguments->source.busy_source,
                   "Offer a source that is mounted or used as swap");
    static_cast<void>(globals);
    verb->callback([arguments, &action] { action = [=] { return run_serve(*arguments); }; });
}

}  // namespace dupengine::cli
