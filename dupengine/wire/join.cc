#include "wire/enrol_messages.h"
#include "wire/enrolment.h"
#include "wire/enrolment_tls.h"
#include "wire/peer_files.h"

namespace dupengine::wire {
namespace {

// What was sent has to be what was asked for: a certificate of our key, by an authority that vouches for it.
Enrolment check_welcome(const Welcome& welcome, KeyPtr key, const std::string& from) {
    CertificatePtr certificate = certificate_from_pem(welcome.certificate, from);
    CertificatePtr authority = certificate_from_pem(welcome.authority, from);
    const bool good = X509_check_private_key(certificate.get(), key.get()) == 1 &&
                      X509_check_ca(authority.get()) == 1 &&
                      X509_verify(certificate.get(), X509_get0_pubkey(authority.get())) == 1;
    ERR_clear_error();
    if (!good) throw_error(Code::kPeer, "{}: the certificate that was sent is not ours", from);
    static_cast<void>(identity_of(*certificate));  // throws without a proper name
    return {std::move(key), std::move(certificate), std::move(authority)};
}

// What was there before, to be put back; empty where there was nothing that can be read.
struct Before {
    std::optional<Enrolment> enrolment;
    RevocationListPtr revoked;
};

Before read_before(const PeerFiles& files) {
    Before before;
    if (!is_enrolled(files)) return before;
    try {
        Enrolment enrolment = read_enrolment(files);
        before.revoked = read_revoked(files, *enrolment.authority);
        before.enrolment = std::move(enrolment);
    } catch (const Error&) {
        // Of what is broken nothing is lost.
    }
    return before;
}

void put_back(const PeerFiles& files, const Before& before) {
    const FolderLock lock(files.folder);
    if (before.enrolment)
        write_enrolment(files, *before.enrolment, *before.revoked, lock);
    else
        remove_enrolment(files, lock);
}

void write_and_confirm(TlsStream& stream, const PeerFiles& files, const Enrolment& enrolment,
                       const X509_CRL& revoked, Deadline deadline) {
    make_private_folder(files.folder);
    const Before before = read_before(files);
    try {
        write_enrolment(files, enrolment, revoked, FolderLock(files.folder));
        stream.send_block("stored", deadline);
    } catch (const Error&) {
        // The other side cannot have heard the whole word, so it takes back what it gave us.
        put_back(files, before);
        throw;
    }
    try {
        stream.finish(deadline);
    } catch (Error& e) {
        e.add_context(
            "this machine has its new enrolment, but the other side may not know and have revoked it (see "
            "its "
            "enrol list): if so, join again with --replace");
        throw;
    }
}

}  // namespace

void check_can_join(const JoinOptions& options) {
    if (!options.name.empty()) check_peer_name(options.name);
    const PeerFiles files(options.folder);
    if (Authority::is_in(options.folder))
        throw_error(Code::kRefused, "{}: this machine holds an authority itself; it cannot join another one",
                    options.folder);
    if (is_enrolled(files) && !options.replace)
        throw_error(Code::kRefused, "{}: this machine is enrolled already; with --replace it joins again",
                    options.folder);
}

PeerIdentity join(std::unique_ptr<Transport> transport, const Secret& token, const JoinOptions& options) {
    check_can_join(options);
    const PeerFiles files(options.folder);
    const Deadline deadline = after(options.patience);
    const PresharedKey shared(token);
    EnrolmentStream connection(std::move(transport), shared, TlsRole::kConnects);
    try {
        connection.handshake(deadline);
    } catch (Error& e) {
        if (e.code() == Code::kAuthenticity)
            e.add_context("the token is not taken: it is another one's, was used, or has expired");
        throw;
    }
    TlsStream& stream = connection.stream();
    KeyPtr key = make_key();
    const std::string called = options.name.empty() ? options.host : options.name;
    stream.send_block(text_of(JoinMessage{options.name, options.host, make_request(*key, called)}), deadline);
    const WelcomeMessage answer = parse_welcome_message(stream.receive_block(kWelcomeMessageLimit, deadline));
    if (!answer.error.empty())
        throw_error(Code::kPeer, "{}: the other side does not enrol us: {}", stream.name(), answer.error);
    const Enrolment enrolment = check_welcome(answer.welcome, std::move(key), stream.name());
    const RevocationListPtr revoked =
        revocation_list_from_pem(answer.welcome.revoked, *enrolment.authority, stream.name());
    write_and_confirm(stream, files, enrolment, *revoked, deadline);
    return identity_of(*enrolment.certificate);
}

}  // namespace dupengine::wire
