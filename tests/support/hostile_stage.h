#pragma once
// Peers that say what a test likes: a connection of which one end is ours and the other says a script, and
// one between two honest ends that is tampered with on the way.

#include <chrono>
#include <functional>
#include <string>
#include <vector>

#include "tests/support/wire_rig.h"
#include "wire/remote_reader.h"

namespace dupengine::test {

/// Everything is over soon.
wire::Patience hostile_patience();

/// One end is ours, at the other end the test says what it likes.
struct Stage {
    Stage();
    wire::Peer us() { return {std::move(ours), {}, "stranger"}; }
    void say(const wire::Message& message) { say(encode(message)); }
    void say(const Bytes& bytes);
    std::unique_ptr<wire::Transport> ours, theirs;
};

wire::Message hello(wire::Role role);
/// A disk of 8 MiB.
wire::Message opened();
/// Only the header of a message.
Bytes header_of(wire::Type type, std::uint32_t payload_bytes);
Bytes together(Bytes first, const Bytes& second);

/// How something ended that has to end with an error, within 20 s and with one line.
struct Ending {
    Code code = Code::kInternal;
    std::string text;
    std::chrono::steady_clock::duration time{};
    bool was_lost = false;  ///< the connection, as far as our end knows; otherwise the other end was at fault
};
Ending ending_of(const std::function<void()>& work);

/// Reads messages, whole ones, and says the next part of the script to each, until the connection ends.
void say_in_turn(Stage& stage, const std::vector<Bytes>& script);

/// A source's end that says the parts of the script in turn, whatever it is asked.
Ending lying_source(const std::vector<Bytes>& script,
                    const std::function<void(wire::RemoteReader&)>& use = {});
/// The questions of a target's end that says `script`, whatever it is answered. The disk is "disk".
Ending lying_target(const std::vector<Bytes>& script);

/// A transport of an honest end, between which and the other end somebody changes messages. Each call of
/// send() is one message.
class Tampered final : public wire::Transport {
  public:
    /// What goes on instead of a message, the `number`th in its direction.
    using Change = std::function<Bytes(std::size_t number, const wire::Message& message)>;
    Tampered(std::unique_ptr<wire::Transport> inner, Change sent, Change received)
        : inner_(std::move(inner)), change_sent_(std::move(sent)), change_received_(std::move(received)) {}
    void send(std::span<const std::byte> bytes, wire::Deadline deadline) override;
    std::size_t receive(std::span<std::byte> buffer, wire::Deadline deadline) override;
    void close() noexcept override { inner_->close(); }
    const std::string& name() const override { return inner_->name(); }

  private:
    const std::unique_ptr<wire::Transport> inner_;
    const Change change_sent_, change_received_;
    std::size_t sent_ = 0, received_ = 0;
    Bytes come_;  // what has come and was not received yet
};

}  // namespace dupengine::test
