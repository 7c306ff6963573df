#include "wire/credentials.h"

#include <ctime>

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

}  // namespace

Credentials::Credentials(const std::string& folder) {
    const PeerFiles files(folder);
    Enrolment enrolment = read_enrolment(files);
    PeerIdentity identity = identity_of(*enrolment.certificate);
    state_ = std::make_unique<State>(State{files, std::move(enrolment), std::move(identity)});
    check_time(*state_);
    static_cast<void>(read_revoked(files, *state_->enrolment.authority));
}

Credentials::~Credentials() = default;

const PeerIdentity& Credentials::identity() const {
    return state_->identity;
}

const std::string& Credentials::folder() const {
    return state_->files.folder;
}

}  // namespace dupengine::wire
