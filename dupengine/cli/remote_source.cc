#include "cli/remote_source.h"

#include <pthread.h>
#include <signal.h>

#include <condition_variable>
#include <mutex>

#include "base/units.h"
#include "cli/version.h"
#include "wire/callers.h"

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

}  // namespace

wire::Peer as_peer(std::unique_ptr<wire::Channel> channel) {
    const codec::Sha256 key = channel->peer().key_sha256;
    std::string name = fmt::format("{} ({})", channel->peer().name, channel->name());
    return {std::move(channel), key, std::move(name)};
}

wire::Peer call(const wire::Address& address, const std::string& peers_folder, const std::stop_token& stop) {
    // Read anew each time: what was revoked meanwhile is not taken.
    const wire::Credentials credentials(peers_folder);
    return as_peer(wire::connect_channel(connect_tcp(address, wire::after(kConnectTime), stop), credentials));
}

RemoteSource::RemoteSource(wire::Peer peer, wire::LinkOptions options) {
    const SignalsBlocked blocked;
    options.version = kVersion;
    link_ = std::make_unique<wire::Link>(std::move(peer), random_, std::move(options));
    reader_ = std::make_unique<wire::RemoteReader>(*link_);
}

RemoteSource::~RemoteSource() {
    unwatch();
    if (!is_over_ && reader_) abort(Error(Code::kRefused, "only looked at it"));
}

std::shared_ptr<RemoteSource> RemoteSource::connect(const wire::PeerReference& reference,
                                                    const std::string& peers_folder) {
    wire::LinkOptions options;
    options.source = reference.name;
    options.connect_again = [=](Deadline, const std::stop_token& stop) {
        return call(reference.address, peers_folder, stop);
    };
    return std::shared_ptr<RemoteSource>(
        new RemoteSource(call(reference.address, peers_folder, {}), std::move(options)));
}

std::shared_ptr<RemoteSource> RemoteSource::wait(wire::Listener& listener, const std::string& peers_folder,
                                                 const std::function<void(const std::string&)>& log,
                                                 const std::stop_token& stop) {
    std::shared_ptr<wire::Callers> callers;
    {
        const SignalsBlocked blocked;
        callers = std::make_shared<wire::Callers>(listener, peers_folder, log);
    }
    for (;;) {
        constexpr auto kForEver = std::chrono::hours(24 * 365);
        wire::Peer peer = as_peer(callers->next(wire::after(kForEver), stop));
        const std::string from = peer.name;
        wire::LinkOptions options;
        options.stop = stop;
        options.connect_again = [callers](Deadline deadline, const std::stop_token& stopped) {
            return as_peer(callers->next(deadline, stopped));
        };
        try {
            return std::shared_ptr<RemoteSource>(new RemoteSource(std::move(peer), std::move(options)));
        } catch (const Error& e) {
            if (e.code() == Code::kInterrupted && stop.stop_requested()) throw;
            log(fmt::format("{}: came to nothing: {}", from, e.what()));
            callers->release();
        }
    }
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
