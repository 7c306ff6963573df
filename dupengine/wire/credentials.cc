#include "wire/credentials.h"

#include <ctime>

#include "base/fd.h"
#include "wire/credentials_state.h"

namespace dupengine::wire {
namespace {

// Said here, with what to do, rather than by the other side as an alert.
void check_time(const Credentials::State& state) {
    const auto [begin, end] = validity_of(*state.enrolment.certificate);
    const std::int64_t now = std::time(nullptr);
    if (now > end)
        throw_error(Code::kAuthenticity,
                    "{}: the certificate of this machine expired at {} (its clock says {}): join again",
                    state.files.enrolment(), time_text(end), time_text(now));
    if (now < begin)
        throw_error(Code::kAuthenticity,
                    "{}: the certificate of this machine is valid from {}, and its clock says {}: set it",
                    state.files.enrolment(), time_text(begin), time_text(now));
}

std::unique_ptr<Credentials::State> read_state(const std::string& folder) {
    const PeerFiles files(folder);
    Enrolment enrolment = read_enrolment(files);
    PeerIdentity identity = identity_of(*enrolment.certificate);
    static_cast<void>(read_revoked(files, *enrolment.authority));  // throws without one
    return std::make_unique<Credentials::State>(
        Credentials::State{files, std::move(enrolment), std::move(identity)});
}

}  // namespace

Credentials::Credentials(std::unique_ptr<State> state) : state_(std::move(state)) {}

Credentials::Credentials(const std::string& folder) : state_(read_state(folder)) {
    check_time(*state_);
}

std::unique_ptr<Credentials> Credentials::unchecked(const std::string& folder) {
    return std::unique_ptr<Credentials>(new Credentials(read_state(folder)));
}

Credentials::~Credentials() = default;

const PeerIdentity& Credentials::identity() const {
    return state_->identity;
}

const std::string& Credentials::folder() const {
    return state_->files.folder;
}

std::vector<CredentialFile> credential_files(const std::string& folder) {
    check_time(*read_state(folder));
    const PeerFiles files(folder);
    std::vector<CredentialFile> read;
    for (const std::string& path : {files.enrolment(), files.revoked()})
        read.push_back({path.substr(folder.size() + 1), read_file(path, Code::kAuthenticity, kRevokedLimit)});
    return read;
}

}  // namespace dupengine::wire
