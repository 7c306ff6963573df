#pragma once
// How a machine is enrolled: the one with the authority invites, which draws a one-time token; the other one
// joins with it. TLS 1.3 with the token as external pre-shared key, always with a fresh (EC)DHE, under an
// ALPN name of its own; RFC 9257: the key is of one use and one pair, 256 random bits, and its identity says
// nothing of it. The machine that joins makes its key itself; the secret half never leaves it. What is said
// is in dupengine-formats(5).
//
// Threads: an Invitation serves many connections at a time by itself; otherwise one at a time.

#include <atomic>
#include <functional>
#include <mutex>
#include <optional>
#include <stop_token>
#include <string>

#include "wire/authority.h"
#include "wire/tcp.h"
#include "wire/token.h"

namespace dupengine::wire {

class TlsStream;

struct InviteOptions {
    /// What the machine will be called; who has the name is replaced. Empty: what the machine asks for, if
    /// nobody has it.
    std::string name;
    std::chrono::milliseconds lifetime{10 * 60'000};
    /// So many uses of the very token may fail: a handshake that names it and does not know it, or nonsense
    /// after one. Then it ends. Whoever names another one is a stranger, who must not be able to end it.
    unsigned failed_uses = 5;
    /// For one machine, from its connection to its last word.
    std::chrono::milliseconds patience{10'000};
};

/// Who joined.
struct Joined {
    std::string name, serial, from;
    std::string not_revoked;  ///< not empty: who had the name before still is enrolled, why, what to do
};

class Invitation {
  public:
    /// A line for the person who watches: who tried what. From several threads, one at a time.
    using Log = std::function<void(const std::string& line)>;

    /// Both outlive it. `token` is shown to the person by the caller, and not kept here. Certificates that an
    /// invitation gave out which was killed before the last word are revoked now. Throws kTargetIo.
    Invitation(Authority& authority, const Secret& token, const InviteOptions& options, Log log);

    /// Serves connections until a machine has joined. Throws kPeer if none has in time, kAuthenticity after
    /// too many failed uses, kInterrupted if it was stopped. The token is void in every case. A machine that
    /// has its certificate is waited for, for its last word, whoever else connects.
    Joined wait(Listener& listener, const std::stop_token& stop = {});

    /// One connection. Nothing if it came to nothing, which is logged. `on_proof` is called when the other
    /// side has shown that it knows the token.
    std::optional<Joined> serve(std::unique_ptr<Transport> transport,
                                const std::function<void()>& on_proof = {});
    /// Used, expired, or failed too often.
    bool is_over() const;

  private:
    Joined enrol(TlsStream& stream, Deadline deadline);
    Welcome issue_once(const std::string& text);
    void take_back(const PeerIdentity& identity);
    std::string replace_others(const PeerIdentity& identity);
    bool is_void() const;  // with the mutex held
    void note_failure(const std::exception& why, bool used_the_token);
    void log(const std::string& line) noexcept;
    [[noreturn]] void throw_nobody_joined(bool was_stopped) const;

    Authority& authority_;
    const PresharedKey key_;
    const InviteOptions options_;
    const Deadline end_;
    const Log log_;
    mutable std::mutex mutex_;  // all below, the authority and the log
    bool is_used_ = false, is_withdrawn_ = false;
    std::string not_revoked_;  // the last word did not come, and what was given out could not be taken back
    unsigned failures_ = 0;
    unsigned strangers_ = 0;
};

struct JoinOptions {
    std::string folder = kPeersFolder;
    std::string name;  ///< what this machine wants to be called; empty: as the invitation says, else `host`
    std::string host;
    bool replace = false;  ///< it may be enrolled already
    std::chrono::milliseconds patience{10'000};
};

/// Throws kRefused if the machine is enrolled and is not to be again, or is an authority itself. Called by
/// join(); before asking a person for the token, too.
void check_can_join(const JoinOptions& options);

/// Enrols this machine with the one at the other end. Throws as check_can_join; kAuthenticity if the token is
/// not taken, kPeer if it comes to nothing for another reason. Then the folder is as it was; but where the
/// last word was sent, and only the answer to it was lost, nobody here can know whether it counts: the new
/// enrolment stays, and the error says so.
PeerIdentity join(std::unique_ptr<Transport> transport, const Secret& token, const JoinOptions& options);

}  // namespace dupengine::wire
