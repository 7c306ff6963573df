#include "wire/channel.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <atomic>

#include "wire/credentials_state.h"
#include "wire/tls_stream.h"

namespace dupengine::wire {
namespace {

constexpr const char* kProtocol = "dupengine/1";

using StorePtr = std::unique_ptr<X509_STORE, FreeWith<X509_STORE_free>>;

// Our authority alone vouches, directly, and its list is looked at.
void set_trust(SSL_CTX* context, const Enrolment& enrolment, X509_CRL* revoked) {
    StorePtr store(X509_STORE_new());
    must(store != nullptr && X509_STORE_add_cert(store.get(), enrolment.authority.get()) == 1 &&
             X509_STORE_add_crl(store.get(), revoked) == 1 &&
             X509_STORE_set_flags(store.get(), X509_V_FLAG_CRL_CHECK | X509_V_FLAG_X509_STRICT) == 1,
         "a store of certificates");
    SSL_CTX_set_cert_store(context, store.release());  // owns it now
    SSL_CTX_set_verify(context, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, nullptr);
    SSL_CTX_set_verify_depth(context, 0);
    // The other side has the authority's certificate; ours alone is sent.
    SSL_CTX_set_mode(context, SSL_MODE_NO_AUTO_CHAIN);
    must(SSL_CTX_use_certificate(context, enrolment.certificate.get()) == 1 &&
             SSL_CTX_use_PrivateKey(context, enrolment.key.get()) == 1,
         "our certificate");
}

}  // namespace

struct Channel::State {
    ContextPtr context;
    TlsStream stream;
    PeerIdentity peer;
    // For another look at what was revoked.
    CertificatePtr certificate, authority;
    PeerFiles files;
    std::chrono::milliseconds revocation_age;
    std::atomic<std::chrono::steady_clock::time_point> next_look;

    void look_at_revoked();
};

// From the thread that sends or the one that receives, whichever comes first.
void Channel::State::look_at_revoked() {
    const auto now = std::chrono::steady_clock::now();
    auto due = next_look.load();
    if (now < due || !next_look.compare_exchange_strong(due, now + revocation_age)) return;
    try {
        if (!is_revoked(*read_revoked(files, *authority), *certificate)) return;
        throw_error(Code::kAuthenticity, "{}: {} was revoked meanwhile: the connection is cut", stream.name(),
                    peer.name);
    } catch (...) {
        stream.close();
        throw;
    }
}

namespace {

// The side that was connected to speaks first: with TLS 1.3 the other one would else not know yet whether its
// certificate was taken.
RevocationListPtr exchange_lists(TlsStream& stream, TlsRole role, const Credentials::State& own,
                                 X509_CRL& ours, Deadline deadline) {
    if (role == TlsRole::kAccepts) stream.send_block(to_pem(ours), deadline);
    const std::string theirs = stream.receive_block(kRevokedLimit, deadline);
    RevocationListPtr newest = learn_revoked(own.files, *own.enrolment.authority, theirs, stream.name());
    if (role == TlsRole::kConnects) stream.send_block(to_pem(*newest), deadline);
    return newest;
}

void check_peer(const X509& certificate, const PeerIdentity& peer, X509_CRL& revoked,
                const ChannelOptions& options, const std::string& name) {
    if (is_revoked(revoked, certificate))
        throw_error(Code::kAuthenticity, "{}: the certificate of the other side is not taken: it was revoked",
                    name);
    const std::vector<std::string>& expected = options.expected_names;
    if (!expected.empty() && std::ranges::find(expected, peer.name) == expected.end())
        throw_error(Code::kAuthenticity, "{}: the other side is {}, not {}", name, peer.name,
                    fmt::join(expected, " or "));
}

// Each holds a count of its own in OpenSSL's object.
CertificatePtr share(const CertificatePtr& certificate) {
    must(X509_up_ref(certificate.get()) == 1, "a certificate");
    return CertificatePtr(certificate.get());
}

std::unique_ptr<Channel> open_channel(TlsRole role, std::unique_ptr<Transport> transport,
                                      const Credentials::State& own, const ChannelOptions& options) {
    const Deadline deadline = after(options.handshake);
    const RevocationListPtr revoked = read_revoked(own.files, *own.enrolment.authority);
    ContextPtr context = make_tls_context(role, kProtocol);
    set_trust(context.get(), own.enrolment, revoked.get());
    SSL_CTX& settings = *context;
    CertificatePtr authority = share(own.enrolment.authority);
    std::unique_ptr<Channel::State> state(
        new Channel::State{std::move(context),
                           TlsStream(std::move(transport), settings, role),
                           {},
                           nullptr,
                           std::move(authority),
                           own.files,
                           options.revocation_age,
                           std::chrono::steady_clock::now() + options.revocation_age});
    TlsStream& stream = state->stream;
    const std::stop_callback stopped(options.stop, [&] { stream.close(); });
    stream.handshake(deadline, kProtocol);
    state->certificate.reset(SSL_get1_peer_certificate(stream.ssl()));
    must(state->certificate != nullptr, "the other side's certificate");
    state->peer = identity_of(*state->certificate);
    if (options.key_update_bytes != 0) stream.set_key_update_bytes(options.key_update_bytes);
    const RevocationListPtr newest = exchange_lists(stream, role, own, *revoked, deadline);
    check_peer(*state->certificate, state->peer, *newest, options, stream.name());
    return std::make_unique<Channel>(std::move(state));
}

}  // namespace

Channel::Channel(std::unique_ptr<State> state) : state_(std::move(state)) {}
Channel::~Channel() = default;

void Channel::send(std::span<const std::byte> bytes, Deadline deadline) {
    state_->look_at_revoked();
    state_->stream.send(bytes, deadline);
}
std::size_t Channel::receive(std::span<std::byte> buffer, Deadline deadline) {
    const std::size_t received = state_->stream.receive(buffer, deadline);
    state_->look_at_revoked();
    return received;
}
void Channel::close() noexcept {
    state_->stream.close();
}
void Channel::finish(Deadline deadline) {
    state_->stream.finish(deadline);
}
const std::string& Channel::name() const {
    return state_->stream.name();
}
const PeerIdentity& Channel::peer() const {
    return state_->peer;
}
std::string Channel::cipher() const {
    return SSL_get_cipher_name(state_->stream.ssl());
}
std::uint64_t Channel::bytes_sent() const {
    return state_->stream.bytes_sent();
}
std::uint64_t Channel::bytes_received() const {
    return state_->stream.bytes_received();
}

std::unique_ptr<Channel> connect_channel(std::unique_ptr<Transport> transport, const Credentials& credentials,
                                         const ChannelOptions& options) {
    try {
        return open_channel(TlsRole::kConnects, std::move(transport), credentials.state(), options);
    } catch (const Error&) {
        if (options.stop.stop_requested()) throw_error(Code::kInterrupted, "stopped on request");
        throw;
    }
}

std::unique_ptr<Channel> accept_channel(std::unique_ptr<Transport> transport, const Credentials& credentials,
                                        const ChannelOptions& options) {
    return open_channel(TlsRole::kAccepts, std::move(transport), credentials.state(), options);
}

}  // namespace dupengine::wire
