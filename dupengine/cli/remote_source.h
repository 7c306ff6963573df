#pragma once
// A source at another machine: the connection that proved who it is, and the disk over it. Other than a disk
// of this machine it wants to be told how the copy goes, and what it came to. What a connection that broke is
// replaced by depends on who made the first one. Prints nothing.

#include <functional>
#include <memory>
#include <string>
#include <thread>

#include "base/progress.h"
#include "base/random.h"
#include "cli/memory_intake.h"
#include "wire/channel.h"
#include "wire/peer_reference.h"
#include "wire/remote_reader.h"

namespace dupengine::cli {

/// The machines that this one talks to: those that are enrolled as `folder` says, and of these only the ones
/// called `names`, if there are any. Over `streams` connections at a time where this end makes them; 0: as
/// many as suit its processors.
struct PeerOptions {
    std::string folder = wire::kPeersFolder;
    std::vector<std::string> names = {};
    unsigned streams = 0;
    unsigned chosen_streams() const;
    /// Throws kUsage for what cannot be a name.
    void check() const;
};

class RemoteSource {
  public:
    /// Connects, and again when the connection broke. Throws what is wrong with it; kInterrupted on SIGINT
    /// and the like, which are for whoever wants them when it returns.
    static std::shared_ptr<RemoteSource> connect(const wire::PeerReference& reference,
                                                 const PeerOptions& peers);
    /// Waits until an enrolled machine offers one, and for it to come back when the connection broke. `log`
    /// hears of those that came to nothing, from any thread; once it is served, others hear themselves that
    /// we are busy. Throws kInterrupted if it was stopped. `listener` outlives it.
    static std::shared_ptr<RemoteSource> wait(wire::Listener& listener, const PeerOptions& peers,
                                              const std::function<void(const std::string&)>& log,
                                              const std::stop_token& stop);
    /// Over a connection that is there; as Link.
    RemoteSource(wire::Peer peer, wire::LinkOptions options);
    ~RemoteSource();
    RemoteSource(const RemoteSource&) = delete;
    RemoteSource& operator=(const RemoteSource&) = delete;

    const block::Reader& reader() const { return *reader_; }
    std::string change() const { return reader_->change(); }
    /// As content_state.
    std::string state() const;
    /// It is in use there, and offered all the same.
    bool is_busy() const { return link_->opened().is_busy; }
    /// It is in use there, and followed: next_round() tells what was written.
    bool is_hot() const { return reader_->is_hot(); }
    /// With the first one memory begins to come, if it is taken, and is shown as a phase of its own.
    block::Changes next_round(Progress& progress) const;
    bool has_memory() const { return reader_->memory() != nullptr; }
    const wire::RemoteReader& remote_reader() const { return *reader_; }
    /// Throws as MemoryIntake. Without this it does not come.
    void take_memory();
    /// Until it is here, if it is taken.
    void wait_for_memory(Progress& progress, const std::stop_token& stop) const;
    /// After wait_for_memory().
    machine::ReceivedMemory& memory() const { return intake_->memory(); }
    bool could_change_unseen() const { return link_->opened().could_change_unseen; }
    /// From here on the other end is told how far it is, until unwatch().
    void watch(const Progress& progress, std::stop_token stop);
    void unwatch();
    /// Either ends it; the other end is told, and ends with the same.
    void finish(const wire::Result& result);
    void abort(const Error& error);
    /// What went over the wire, for a person.
    std::string traffic() const;

  private:
    SystemRandom random_;
    std::unique_ptr<wire::Link> link_;
    std::unique_ptr<wire::RemoteReader> reader_;
    std::unique_ptr<MemoryIntake> intake_;
    bool is_over_ = false;
    std::jthread teller_;
};

/// A TLS channel as the other end of a link.
wire::Peer as_peer(std::unique_ptr<wire::Channel> channel);
/// Connects to a machine, which has proved who it is then. Throws kPeer, kAuthenticity, kInterrupted.
wire::Peer call(const wire::Address& address, const PeerOptions& peers, const std::stop_token& stop);

}  // namespace dupengine::cli
