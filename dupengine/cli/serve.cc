// dupengine serve NAME=SOURCE...: offers disks, files or images to enrolled machines, until it is stopped.
// Any number of them read at a time; none writes. See dupengine-serve(8).

#include <unistd.h>

#include <deque>
#include <map>
#include <mutex>
#include <optional>
#include <set>

#include "base/random.h"
#include "base/units.h"
#include "cli/interrupt.h"
#include "cli/offered.h"
#include "cli/peers_option.h"
#include "cli/terminal.h"
#include "cli/text.h"
#include "cli/version.h"
#include "wire/reception.h"

namespace dupengine::cli {
namespace {

// Connections at a time that read; who comes besides is told so. Of a copy that has one already there are
// more only while half of the places are free: they are for others.
constexpr std::size_t kMostReaders = 16;
constexpr std::size_t kMostOfOne = kMostReaders / 2;

struct ServeArguments {
    std::vector<std::string> offers;
    std::string listen;
    CopyArguments source;
};

class Server {
  public:
    Server(const wire::Offer& offer, const PeerOptions& peers, const std::stop_token& stop)
        : offer_(offer), peers_(peers), stop_(stop) {}

    void run(wire::Listener& listener) {
        wire::ReceptionOptions options;
        options.peers_folder = peers_.folder;
        options.channel.expected_names = peers_.names;
        options.take = [this](std::unique_ptr<wire::Channel> channel) { take(std::move(channel)); };
        options.log = [this](const std::string& line) { say(line); };
        wire::Reception(std::move(options)).run(listener, stop_);
    }

  private:
    // A place among the readers, for as long as it lives.
    class Seat {
      public:
        Seat(Server& server, const codec::Sha256& key) : server_(server), key_(key) {
            const std::lock_guard lock(server_.mutex_);
            if (server_.readers_.size() >= kMostReaders)
                busy = fmt::format("busy: {} connections read here at a time; try again later", kMostReaders);
            else if (server_.readers_.count(key) >= kMostOfOne)
                busy = fmt::format("busy: one machine reads over {} connections at a time", kMostOfOne);
            else
                server_.readers_.insert(key);
        }
        ~Seat() {
            const std::lock_guard lock(server_.mutex_);
            if (busy.empty()) server_.readers_.erase(server_.readers_.find(key_));
        }
        Seat(const Seat&) = delete;
        Seat& operator=(const Seat&) = delete;

        std::string busy;  // empty, or why there is none

      private:
        Server& server_;
        const codec::Sha256 key_;
    };

    // What one copy reads over all of its connections.
    struct Transfer {
        unsigned streams = 0;
        std::uint64_t bytes_sent = 0;
        std::optional<std::string> target;  // that it is done with
    };

    // One of them, for as long as it lives.
    class Stream {
      public:
        Stream(Server& server, const wire::Token& transfer) : server_(server), transfer_(transfer) {
            const std::lock_guard lock(server_.mutex_);
            is_first = server_.transfers_[transfer].streams++ == 0;
        }
        ~Stream() { end({}); }
        Stream(const Stream&) = delete;
        Stream& operator=(const Stream&) = delete;

        /// What all came to, if it was the last of them.
        std::optional<Transfer> end(const wire::Answered& answered) {
            const std::lock_guard lock(server_.mutex_);
            if (std::exchange(is_over_, true)) return {};
            const auto found = server_.transfers_.find(transfer_);
            Transfer& transfer = found->second;
            transfer.bytes_sent += answered.bytes_sent;
            if (answered.result) transfer.target = answered.result->target;
            if (--transfer.streams != 0) return {};
            const Transfer ended = transfer;
            server_.transfers_.erase(found);
            return ended;
        }

        bool is_first = false;

      private:
        Server& server_;
        const wire::Token transfer_;
        bool is_over_ = false;
    };

    // What it throws is told by the reception.
    void take(std::unique_ptr<wire::Channel> channel) {
        const codec::Sha256 key = channel->peer().key_sha256;
        const Seat seat(*this, key);
        if (!seat.busy.empty()) {
            say(fmt::format("{}: turned away: {}", channel->peer().name, seat.busy));
            // What it began elsewhere it may go on with in a moment: another connection might do.
            return wire::turn_away(std::move(channel), Error(Code::kPeer, seat.busy));
        }
        wire::Peer peer = as_peer(std::move(channel));
        const std::string who = peer.name;
        wire::AnswerOptions options;
        options.version = kVersion;
        options.stop = stop_;
        std::optional<Stream> stream;
        bool is_refused = false;
        options.on_open = [&](const wire::OfferedDisk& disk, const wire::Token& transfer) {
            stream.emplace(*this, transfer);
            if (stream->is_first) return say(fmt::format("{}: reads {}", who, disk.name));
            is_refused = is_crowded(key);
            if (is_refused) throw_error(Code::kPeer, "busy: no more connections for this copy at the moment");
        };
        wire::Answered answered;
        try {
            answered = wire::answer(std::move(peer), offer_, options);
        } catch (const Error&) {
            if (!is_refused) throw;
            return;
        }
        if (!stream) return say(fmt::format("{}: gone: {}", who, answered.lost));
        const std::optional<Transfer> ended = stream->end(answered);
        if (!ended) return;
        say(ended->target ? fmt::format("{}: done: {} is a copy; {} went over the wire", who, *ended->target,
                                        format_size(ended->bytes_sent))
                          : fmt::format("{}: gone: {}", who, answered.lost));
    }

    bool is_crowded(const codec::Sha256& key) {
        const std::lock_guard lock(mutex_);
        return readers_.size() > kMostReaders / 2 || readers_.count(key) > kMostOfOne / 2;
    }

    void say(const std::string& line) {
        const std::lock_guard lock(saying_);
        fmt::print(stderr, "{}\n", printable(line, charset_));
    }

    const wire::Offer& offer_;
    const PeerOptions peers_;
    const std::stop_token stop_;
    const Charset charset_ = look_at_terminal(STDERR_FILENO).style.charset;
    std::mutex saying_;
    std::mutex mutex_;
    std::multiset<codec::Sha256> readers_;  // their keys
    std::map<wire::Token, Transfer> transfers_;
};

int run_serve(const ServeArguments& arguments) {
    std::deque<OfferedSource> sources;
    SystemRandom random;
    wire::Offer offer(random);
    arguments.source.peers.check();
    for (const std::string& text : arguments.offers) {
        const std::size_t equals = text.find('=');
        if (equals == std::string::npos || equals + 1 == text.size())
            throw_error(Code::kUsage, "{}: is not NAME=SOURCE", text);
        sources.emplace_back(text.substr(0, equals), text.substr(equals + 1), arguments.source);
        offer.add(sources.back().disk());
    }
    const wire::Credentials enrolled(arguments.source.peers.folder);
    const InterruptWatch interrupt;
    for (const OfferedSource& source : sources)
        source.set_stop(interrupt.token());
    wire::Listener listener(wire::parse_listening_address(arguments.listen, wire::kPeerPort));
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
    add_peer_options(*verb, arguments->source.peers);
    add_image_trust_options(*verb, arguments->source.trust);
    verb->add_flag("--busy-source", arguments->source.busy_source,
                   "Offer a source that is mounted or used as swap");
    static_cast<void>(globals);
    verb->callback([arguments, &action] { action = [=] { return run_serve(*arguments); }; });
}

}  // namespace dupengine::cli
