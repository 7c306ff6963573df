#pragma once
// The channel between two enrolled machines: TLS 1.3 and nothing older, certificates of the same authority on
// both sides, ALPN "dupengine/1", so that another version of the protocol fails the handshake. No tickets, no
// resumption, no early data, no renegotiation; a key update is answered. What one side knows to be revoked
// the other learns before the first message (credentials.h). Nothing of the other side's is parsed above this
// before it has proved who it is.
//
// A Channel is a Transport: what speaks over it can be tested over any other. Memory: about half a MiB each,
// whatever the other side does. OpenSSL stays behind this header.
//
// Threads: as transport.h: one sends while another receives.

#include <chrono>
#include <memory>
#include <stop_token>
#include <string>
#include <vector>

#include "wire/credentials.h"
#include "wire/transport.h"

namespace dupengine::wire {

struct ChannelOptions {
    /// For all of the handshake, however many bytes come one by one.
    std::chrono::milliseconds handshake{10'000};
    /// If not empty: the only names that are taken. A host name says nothing: any enrolled machine is taken.
    std::vector<std::string> expected_names = {};
    /// Ends the handshake with kInterrupted.
    std::stop_token stop = {};
    /// A new key after that many bytes sent under one; 0: after 64 GiB, a sixth of what AES-GCM allows.
    std::uint64_t key_update_bytes = 0;
    /// Between looks at what was revoked. With a sign of life every few seconds that is when it is heard of.
    std::chrono::milliseconds revocation_age{30'000};
};

class Channel final : public Transport {
  public:
    ~Channel() override;
    Channel(const Channel&) = delete;
    Channel& operator=(const Channel&) = delete;

    /// As Transport, and kAuthenticity if the other side was revoked meanwhile, or if this cannot be known
    /// any more. Large pieces are cheaper than small ones; what is sent in one call leaves at once.
    void send(std::span<const std::byte> bytes, Deadline deadline) override;
    /// As send(); 0 only after the other side's close_notify: a connection that was cut throws kPeer, and
    /// so nobody can shorten a message unseen.
    std::size_t receive(std::span<std::byte> buffer, Deadline deadline) override;
    /// Cuts the connection. The other side sees that; see finish().
    void close() noexcept override;
    const std::string& name() const override;

    /// Says that nothing more will come (close_notify), waits for the other side to say the same, and closes.
    /// What still comes meanwhile is thrown away. When it returns, the other side has all that was sent. Not
    /// while another thread sends or receives. Throws kPeer.
    void finish(Deadline deadline);

    /// Who is at the other end.
    const PeerIdentity& peer() const;
    /// "TLS_AES_128_GCM_SHA256".
    std::string cipher() const;
    /// Bytes that went over the transport since the connection began, with all that TLS adds.
    std::uint64_t bytes_sent() const;
    std::uint64_t bytes_received() const;

    struct State;  // for channel.cc
    explicit Channel(std::unique_ptr<State> state);

  private:
    std::unique_ptr<State> state_;
};

/// The side that connected, and the side that was connected to. Both return when each side has taken the
/// other's certificate. They throw kAuthenticity if a certificate, ours or theirs, is not taken (foreign,
/// expired, not yet valid, revoked, of another use, missing, another name), and kPeer if the other side
/// speaks another protocol or version, is silent, or goes away. The transport is closed then. `credentials`
/// may go after the call.
std::unique_ptr<Channel> connect_channel(std::unique_ptr<Transport> transport, const Credentials& credentials,
                                         const ChannelOptions& options = {});
std::unique_ptr<Channel> accept_channel(std::unique_ptr<Transport> transport, const Credentials& credentials,
                                        const ChannelOptions& options = {});

}  // namespace dupengine::wire
