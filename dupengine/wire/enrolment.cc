#include "wire/enrolment.h"

#include "wire/enrol_messages.h"
#include "wire/enrolment_tls.h"
#include "wire/guests.h"
#include "wire/peer_files.h"

namespace dupengine::wire {
namespace {

constexpr std::string_view kStored = "stored";
// Strangers that are named one by one.
constexpr unsigned kNamedStrangers = 20;
// Far more than an enrolment takes: whoever gave that certificate out does not wait any more.
constexpr std::int64_t kAbandonedSeconds = 300;

}  // namespace

Invitation::Invitation(Authority& authority, const Secret& token, const InviteOptions& options, Log log)
    : authority_(authority),
      key_(token),
      options_(options),
      end_(after(options.lifetime)),
      log_(std::move(log)) {
    if (!options.name.empty()) check_peer_name(options.name);
    for (const Issued& one : authority.revoke_abandoned(kAbandonedSeconds))
        this->log(fmt::format("{}: had a certificate and never said so: revoked (serial number {})", one.name,
                              one.serial));
}

bool Invitation::is_over() const {
    const std::lock_guard lock(mutex_);
    return is_void();
}

bool Invitation::is_void() const {
    return is_used_ || is_withdrawn_ || failures_ >= options_.failed_uses ||
           std::chrono::steady_clock::now() >= end_;
}

// A line that cannot be shown ends nothing.
void Invitation::log(const std::string& line) noexcept {
    try {
        if (log_) log_(line);
    } catch (const std::exception&) {
        return;
    }
}

Joined Invitation::wait(Listener& listener, const std::stop_token& stop) {
    std::stop_source over;
    const std::stop_callback stopped(stop, [&] {
        {
            const std::lock_guard lock(mutex_);
            is_withdrawn_ = true;
        }
        over.request_stop();
    });
    std::optional<Joined> joined;
    {
        Guests guests;
        while (!over.stop_requested() && !is_over()) {
            auto transport = listener.accept(end_, over.get_token());
            if (transport == nullptr) break;
            guests.add(std::move(transport), [&](std::unique_ptr<Transport> one, Guests::Guest& guest) {
                const auto found = serve(std::move(one), [&] { guest.prove("the token"); });
                if (found) joined = found;  // there is one at most: a token works once
                if (is_over()) over.request_stop();
            });
        }
        // Strangers go at once. Who knows the token ends by itself, at its deadline: it may have what makes
        // it enrolled, and be about to say so.
        guests.end(3 * options_.patience);
    }
    if (joined) return *joined;
    throw_nobody_joined(stop.stop_requested());
}

void Invitation::throw_nobody_joined(bool was_stopped) const {
    const std::lock_guard lock(mutex_);
    if (!not_revoked_.empty()) throw_error(Code::kPeer, "{}", not_revoked_);
    if (is_used_)
        throw_error(Code::kPeer,
                    "the machine that used the token did not say that it is enrolled; its certificate was "
                    "revoked. Invite it again");
    if (was_stopped) throw_error(Code::kInterrupted, "the invitation was withdrawn: nobody joined");
    if (failures_ >= options_.failed_uses)
        throw_error(Code::kAuthenticity,
                    "{} uses of a token failed: the invitation is void; find out who that was", failures_);
    throw_error(Code::kPeer, "nobody used the token in time: it is void");
}

std::optional<Joined> Invitation::serve(std::unique_ptr<Transport> transport,
                                        const std::function<void()>& on_proof) {
    const std::string from = transport->name();
    const Deadline deadline = std::min(after(options_.patience), end_);
    std::unique_ptr<EnrolmentStream> connection;
    try {
        connection = std::make_unique<EnrolmentStream>(std::move(transport), key_, TlsRole::kAccepts);
        connection->handshake(deadline);
        if (on_proof) on_proof();
        Joined joined = enrol(connection->stream(), deadline);
        const std::lock_guard lock(mutex_);
        log(fmt::format("{}: joined as {}", from, joined.name));
        return joined;
    } catch (const std::exception& e) {
        note_failure(e, connection != nullptr && connection->used_the_token());
        return std::nullopt;
    }
}

void Invitation::note_failure(const std::exception& why, bool used_the_token) {
    const std::lock_guard lock(mutex_);
    if (used_the_token) {
        ++failures_;
        log(fmt::format("a use of a token failed ({} of {}): {}", failures_, options_.failed_uses,
                        why.what()));
    } else if (++strangers_ <= kNamedStrangers) {
        log(fmt::format("a connection without the token: {}{}", why.what(),
                        strangers_ == kNamedStrangers ? " (no more of these are told)" : ""));
    }
}

// The moment in which the token is used up: two connections at a time do not get two certificates.
Welcome Invitation::issue_once(const std::string& text) {
    const JoinMessage message = parse_join_message(text);
    const std::lock_guard lock(mutex_);
    if (is_void())
        throw_error(Code::kRefused,
                    "the token is void: it was used already, has expired, or failed too often");
    if (!options_.name.empty() && !message.name.empty() && message.name != options_.name)
        throw_error(Code::kRefused, "the invitation is for {}", options_.name);
    const std::string& name = !options_.name.empty()  ? options_.name
                              : !message.name.empty() ? message.name
                                                      : message.host;
    Welcome welcome = authority_.issue(name, message.request,
                                       options_.name.empty() ? NameInUse::kRefuse : NameInUse::kAllow);
    is_used_ = true;
    return welcome;
}

// Nobody may be enrolled that nobody knows of.
void Invitation::take_back(const PeerIdentity& identity) {
    const std::lock_guard lock(mutex_);
    try {
        authority_.revoke(identity.serial);
    } catch (const std::exception& e) {
        not_revoked_ = fmt::format(
            "{}: did not say that it is enrolled, and its certificate could NOT be revoked ({}); do that: "
            "dupengine enrol revoke {}",
            identity.name, e.what(), identity.serial);
        log(not_revoked_);
    }
}

// Empty, or why what had its name before could not be revoked. The machine is enrolled in any case.
std::string Invitation::replace_others(const PeerIdentity& identity) {
    if (options_.name.empty()) return {};
    const std::lock_guard lock(mutex_);
    try {
        authority_.revoke_others(identity.name, identity.serial);
        return {};
    } catch (const std::exception& e) {
        std::string text = fmt::format(
            "{} is enrolled with serial number {}; what else has this name could NOT be revoked ({}); see "
            "dupengine enrol list, and say dupengine enrol revoke SERIAL",
            identity.name, identity.serial, e.what());
        log(text);
        return text;
    }
}

Joined Invitation::enrol(TlsStream& stream, Deadline deadline) {
    const std::string text = stream.receive_block(kJoinMessageLimit, deadline);
    Welcome welcome;
    try {
        welcome = issue_once(text);
    } catch (const Error& e) {
        stream.send_block(text_of(WelcomeMessage{{}, e.what()}), deadline);
        throw;
    }
    const CertificatePtr certificate = certificate_from_pem(welcome.certificate, "the new certificate");
    const PeerIdentity identity = identity_of(*certificate);
    try {
        // What was given out late in the life of the token has the time that it takes.
        const Deadline last = after(options_.patience);
        stream.send_block(text_of(WelcomeMessage{welcome, ""}), last);
        if (stream.receive_block(kStored.size(), last) != kStored)
            throw_error(Code::kPeer, "{}: the machine does not say that it has its certificate",
                        stream.name());
        const std::lock_guard lock(mutex_);
        authority_.confirm(identity.serial);
    } catch (const std::exception&) {
        take_back(identity);
        throw;
    }
    std::string not_revoked = replace_others(identity);
    try {
        stream.finish(after(options_.patience));
    } catch (const Error&) {
        // It has said that it is enrolled; what is lost is our goodbye.
    }
    return {identity.name, identity.serial, stream.name(), std::move(not_revoked)};
}

}  // namespace dupengine::wire
