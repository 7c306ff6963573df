#include "cli/remote_source.h"

#include <pthread.h>
#include <signal.h>

#include <condition_variable>
#include <mutex>

#include "base/units.h"
#include "cli/interrupt.h"
#include "cli/version.h"
#include "wire/callers.h"
#include "wire/certificates.h"

namespace dupengine::cli {
namespace {

using namespace std::chrono_literals;
using wire::Deadline;

constexpr auto kConnectTime = 10s;

// Threads that start while it lives never take a signal: those are for whoever watches for them.
class SignalsBlocked {
  public:
    SignalsBlocked() {
        sigset_t all;
        sigfillset(&all);
        pthread_sigmask(SIG_BLOCK, &all, &before_);
    }
    ~SignalsBlocked() { pthread_sigmask(SIG_SETMASK, &before_, nullptr); }
    SignalsBlocked(const SignalsBlocked&) = delete;
    SignalsBlocked& operator=(const SignalsBlocked&) = delete;

  private:
    sigset_t before_{};
};

// While it lives, what comes of memory is a phase of its own.
class ShownMemory {
  public:
    ShownMemory(MemoryIntake& intake, Progress& progress) : intake_(intake) {
        progress.begin("memory", 0);
        intake_.show(&progress);
    }
    ~ShownMemory() { intake_.show(nullptr); }
    ShownMemory(const ShownMemory&) = delete;
    ShownMemory& operator=(const ShownMemory&) = delete;

  private:
    MemoryIntake& intake_;
};

}  // namespace

wire::Peer as_peer(std::unique_ptr<wire::Channel> channel) {
    const codec::Sha256 key = channel->peer().key_sha256;
    std::string name = fmt::format("{} ({})", channel->peer().name, channel->name());
    return {std::move(channel), key, std::move(name)};
}

unsigned PeerOptions::chosen_streams() const {
    return streams != 0 ? streams : wire::usual_streams(std::thread::hardware_concurrency());
}

void PeerOptions::check() const {
    for (const std::string& name : names)
        wire::check_peer_name(name);
}

wire::Peer call(const wire::Address& address, const PeerOptions& peers, const std::stop_token& stop) {
    // Read anew each time: what was revoked meanwhile is not taken.
    const wire::Credentials credentials(peers.folder);
    return as_peer(wire::connect_channel(connect_tcp(address, wire::after(kConnectTime), stop), credentials,
                                         {.expected_names = peers.names, .stop = stop}));
}

RemoteSource::RemoteSource(wire::Peer peer, wire::LinkOptions options) {
    options.version = kVersion;
    {
        const SignalsBlocked blocked;
        link_ = std::make_unique<wire::Link>(std::move(peer), random_, std::move(options));
    }
    try {
        reader_ = std::make_unique<wire::RemoteReader>(*link_);
    } catch (const Error& e) {
        abort(e);
        throw;
    }
}

RemoteSource::~RemoteSource() {
    unwatch();
    if (!is_over_ && reader_) abort(Error(Code::kRefused, "only looked at it"));
}

std::shared_ptr<RemoteSource> RemoteSource::connect(const wire::PeerReference& reference,
                                                    const PeerOptions& peers) {
    wire::LinkOptions options;
    options.source = reference.name;
    options.streams = peers.chosen_streams();
    options.connect_again = [=](Deadline, const std::stop_token& stop) {
        return call(reference.address, peers, stop);
    };
    std::shared_ptr<RemoteSource> source;
    {
        // The other end describes its disk now, which may take long.
        const InterruptWatch interrupt;
        options.stop = interrupt.token();
        wire::Peer peer = call(reference.address, peers, options.stop);
        source = std::make_shared<RemoteSource>(std::move(peer), options);
    }
    // Also what came until the last moment of the watch.
    if (options.stop.stop_requested())
        throw_error(Code::kInterrupted, "stopped on request, before anything was written");
    return source;
}

std::shared_ptr<RemoteSource> RemoteSource::wait(wire::Listener& listener, const PeerOptions& peers,
                                                 const std::function<void(const std::string&)>& log,
                                                 const std::stop_token& stop) {
    std::shared_ptr<wire::Callers> callers;
    {
        const SignalsBlocked blocked;
        callers = std::make_shared<wire::Callers>(listener, peers.folder, peers.names, log);
    }
    for (;;) {
        constexpr auto kForEver = std::chrono::hours(24 * 365);
        wire::Peer peer = as_peer(callers->next(wire::after(kForEver), stop));
        const std::string from = peer.name;
        wire::LinkOptions options;
        options.stop = stop;
        options.streams = wire::kMostStreams;  // it is the other end that makes them
        options.connect_again = [callers](Deadline deadline, const std::stop_token& stopped) {
            return as_peer(callers->next(deadline, stopped));
        };
        try {
            return std::make_shared<RemoteSource>(std::move(peer), std::move(options));
        } catch (const Error& e) {
            if (e.code() == Code::kInterrupted && stop.stop_requested()) throw;
            log(fmt::format("{}: came to nothing: {}", from, e.what()));
            callers->release();
        }
    }
}

block::Changes RemoteSource::next_round(Progress& progress) const {
    if (!intake_) return reader_->next_round();
    intake_->check();
    const ShownMemory shown(*intake_, progress);
    intake_->start();
    return reader_->next_round();
}

void RemoteSource::take_memory() {
    intake_ = std::make_unique<MemoryIntake>(*reader_);
}

void RemoteSource::wait_for_memory(Progress& progress, const std::stop_token& stop) const {
    if (!intake_) return;
    const ShownMemory shown(*intake_, progress);
    intake_->wait(stop);
}

std::string RemoteSource::state() const {
    const wire::Token& state = link_->opened().state;
    return state == wire::Token{} ? "" : to_hex(state);
}

void RemoteSource::watch(const Progress& progress, std::stop_token stop) {
    link_->set_stop(std::move(stop));
    teller_ = std::jthread([this, &progress](const std::stop_token& over) {
        std::mutex mutex;
        std::condition_variable_any wake;
        std::unique_lock lock(mutex);
        do {
            const Progress::State state = progress.look();
            if (!state.phase.empty())
                link_->tell(wire::Type::kProgress,
                            wire::encode(wire::ProgressNote{state.phase, state.done_bytes, state.total_bytes,
                                                            state.part, state.parts}));
        } while (!wake.wait_for(lock, over, 500ms, [&] { return over.stop_requested(); }));
    });
}

void RemoteSource::unwatch() {
    teller_ = {};
    if (link_) link_->set_stop({});
}

void RemoteSource::finish(const wire::Result& result) {
    is_over_ = true;
    link_->finish(result);
}

void RemoteSource::abort(const Error& error) {
    is_over_ = true;
    link_->abort({error.code(), error.what()});
}

std::string RemoteSource::traffic() const {
    const unsigned times = link_->times_reconnected();
    return fmt::format(
        "{} came over the wire{}", format_size(link_->bytes_received()),
        times == 0 ? "" : fmt::format("; the connection broke {} times and was replaced", times));
}

}  // namespace dupengine::cli
