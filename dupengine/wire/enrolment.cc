#include "wire/enrolment.h"

#include <list>
#include <thread>

#include "wire/enrol_messages.h"
#include "wire/enrolment_tls.h"
#include "wire/peer_files.h"

namespace dupengine::wire {
namespace {

constexpr std::string_view kStored = "stored";
// Connections at a time; a new one pushes out the oldest, which had the most time.
constexpr std::size_t kGuests = 16;
// Strangers that are named one by one.
constexpr unsigned kNamedStrangers = 20;

// A transport that somebody else may close.
class SharedTransport final : public Transport {
  public:
    explicit SharedTransport(std::shared_ptr<Transport> other) : other_(std::move(other)) {}
    void send(std::span<const std::byte> bytes, Deadline deadline) override { other_->send(bytes, deadline); }
    std::size_t receive(std::span<std::byte> buffer, Deadline deadline) override {
        return other_->receive(buffer, deadline);
    }
    void close() noexcept override { other_->close(); }
    const std::string& name() const override { return other_->name(); }

  private:
    std::shared_ptr<Transport> other_;
};

struct Guest {
    std::shared_ptr<Transport> transport;
    std::atomic<bool> is_gone{false};
    std::jthread thread;
    ~Guest() {
        if (transport != nullptr) transport->close();
    }
};

}  // namespace

Invitation::Invitation(Authority& authority, const Secret& token, const InviteOptions& options, Log log)
    : authority_(authority),
      key_(token),
      options_(options),
      end_(after(options.lifetime)),
      log_(std::move(log)) {
    if (!options.name.empty()) check_peer_name(options.name);
}

bool Invitation::is_over() const {
    const std::lock_guard lock(mutex_);
    return is_void();
}

bool Invitation::is_void() const {
    return is_used_ || failures_ >= options_.failed_uses || std::chrono::steady_clock::now() >= end_;
}

void Invitation::log(const std::string& line) {
    if (log_) log_(line);
}

Joined Invitation::wait(Listener& listener, const std::stop_token& stop) {
    std::stop_source over;
    const std::stop_callback stopped(stop, [&] { over.request_stop(); });
    std::optional<Joined> joined;
    std::list<Guest> guests;
    while (!over.stop_requested() && !is_over()) {
        std::shared_ptr<Transport> transport = listener.accept(end_, over.get_token());
        if (transport == nullptr) break;
        std::erase_if(guests, [](const Guest& guest) { return guest.is_gone.load(); });
        if (guests.size() >= kGuests) guests.pop_front();
        Guest& guest = guests.emplace_back();
        guest.transport = transport;
        guest.thread = std::jthread([this, &guest, &joined, &over] {
            const auto found = serve(std::make_unique<SharedTransport>(guest.transport));
            if (found) joined = found;  // there is one at most: a token works once
            if (is_over()) over.request_stop();
            guest.is_gone = true;
        });
    }
    guests.clear();  // closes and waits
    if (joined) return *joined;
    if (stop.stop_requested()) throw_error(Code::kInterrupted, "the invitation was withdrawn: nobody joined");
    if (is_used_)
        throw_error(Code::kPeer,
                    "the machine that used the token did not say that it is enrolled; its certificate was "
                    "revoked. Invite it again");
    if (failures_ >= options_.failed_uses)
        throw_error(Code::kAuthenticity,
                    "{} uses of a token failed: the invitation is void; find out who that was", failures_);
    throw_error(Code::kPeer, "nobody used the token in time: it is void");
}

std::optional<Joined> Invitation::serve(std::unique_ptr<Transport> transport) {
    const std::string from = transport->name();
    const Deadline deadline = std::min(after(options_.patience), end_);
    EnrolmentStream connection(std::move(transport), key_, TlsRole::kAccepts);
    try {
        connection.handshake(deadline);
        Joined joined = enrol(connection.stream(), deadline);
        const std::lock_guard lock(mutex_);
        log(fmt::format("{}: joined as {}", from, joined.name));
        return joined;
    } catch (const Error& e) {
        const std::lock_guard lock(mutex_);
        if (connection.used_a_token()) {
            ++failures_;
            log(fmt::format("a use of a token failed ({} of {}): {}", failures_, options_.failed_uses,
                            e.what()));
        } else if (++strangers_ <= kNamedStrangers) {
            log(fmt::format("a connection without a token: {}{}", e.what(),
                            strangers_ == kNamedStrangers ? " (no more of these are told)" : ""));
        }
        return std::nullopt;
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
        stream.send_block(text_of(WelcomeMessage{welcome, ""}), deadline);
        if (stream.receive_block(kStored.size(), deadline) != kStored)
            throw_error(Code::kPeer, "{}: the machine does not say that it has its certificate",
                        stream.name());
    } catch (const Error&) {
        // Nobody may be enrolled that nobody knows of.
        const std::lock_guard lock(mutex_);
        authority_.revoke(identity.serial);
        throw;
    }
    if (!options_.name.empty()) {
        const std::lock_guard lock(mutex_);
        authority_.revoke_others(identity.name, identity.serial);
    }
    try {
        stream.finish(deadline);
    } catch (const Error&) {
        // It has said that it is enrolled; what is lost is our goodbye.
    }
    return {identity.name, identity.serial, stream.name()};
}

}  // namespace dupengine::wire
