#include "wire/authority.h"

#include <unistd.h>

#include <algorithm>
#include <ctime>
#include <nlohmann/json.hpp>

#include "base/fd.h"
#include "wire/peer_files.h"

namespace dupengine::wire {
namespace {

using nlohmann::json;

constexpr std::int64_t kDay = 86'400;
// The machine that holds the authority could give itself any certificate: its own is valid as long.
constexpr std::int64_t kAuthorityDays = 7'300, kMachineDays = 365;
// Clocks differ; a certificate is valid from a little before it was made.
constexpr std::int64_t kClockSlack = 3600;
constexpr std::size_t kIssuedLimit = 64 * kMiB;

Validity validity_for(std::int64_t now, std::int64_t days) {
    return {now - kClockSlack, now + days * kDay};
}

json to_json(const Issued& one) {
    json entry = {{"name", one.name},
                  {"serial", one.serial},
                  {"key_sha256", one.key_sha256},
                  {"begin", one.begin},
                  {"end", one.end}};
    if (one.is_pending) entry["pending"] = true;
    return entry;
}

std::vector<Issued> read_issued(const PeerFiles& files) {
    const std::string path = files.issued();
    std::vector<Issued> all;
    try {
        for (const json& one : json::parse(read_file(path, Code::kAuthenticity, kIssuedLimit)))
            all.push_back({one.at("name"), one.at("serial"), one.at("key_sha256"), one.at("begin"),
                           one.at("end"), std::nullopt, one.value("pending", false)});
    } catch (const json::exception& e) {
        throw_error(Code::kAuthenticity, "{}: not the list of certificates that were given out: {}", path,
                    e.what());
    }
    return all;
}

void write_issued(const PeerFiles& files, const std::vector<Issued>& all) {
    json list = json::array();
    for (const Issued& one : all)
        list.push_back(to_json(one));
    const std::string text = list.dump(1) + "\n";
    write_file_atomic(files.issued(), as_bytes(text), 0600, Code::kTargetIo);
}

Issued issued_of(const X509& certificate) {
    const PeerIdentity identity = identity_of(certificate);
    const Validity validity = validity_of(certificate);
    return {identity.name,  identity.serial, to_hex(identity.key_sha256),
            validity.begin, validity.end,    std::nullopt};
}

void mark_revoked(std::vector<Issued>& all, const std::vector<Revoked>& revoked) {
    for (Issued& one : all) {
        const auto found = std::ranges::find(revoked, one.serial, &Revoked::serial);
        if (found != revoked.end()) one.revoked = found->when;
    }
}

}  // namespace

struct Authority::State {
    PeerFiles files;
    Enrolment own;  // of this machine; its authority is this one
    KeyPtr key;
    RandomSource& random;
    Clock clock;

    bool is_valid(const Issued& one) const { return !one.revoked && clock() <= one.end; }
    std::vector<Issued> issued() const;
    void revoke(const std::vector<Issued>& which);
};

std::vector<Issued> Authority::State::issued() const {
    std::vector<Issued> all = read_issued(files);
    mark_revoked(all, revoked_in(*read_revoked(files, *own.authority)));
    return all;
}

// In force, and on disk, when it returns. The list of revocations itself says what is revoked.
void Authority::State::revoke(const std::vector<Issued>& which) {
    const FolderLock list_lock(files.folder);
    const RevocationListPtr old = read_revoked(files, *own.authority);
    const std::int64_t now = clock();
    std::vector<Revoked> all = revoked_in(*old);
    for (const Issued& one : which)
        all.push_back({one.serial, now});
    const RevocationListPtr list =
        make_revocation_list(all, number_of(*old) + 1, now - kClockSlack, *key, *own.authority);
    write_revoked(files, *list, list_lock);
}

std::int64_t Authority::system_time() {
    return std::time(nullptr);
}

bool Authority::is_in(const std::string& folder) {
    return ::access(PeerFiles(folder).authority_key().c_str(), F_OK) == 0 && is_enrolled(PeerFiles(folder));
}

void Authority::make(const std::string& folder, const std::string& own_name, RandomSource& random,
                     const Clock& clock) {
    check_peer_name(own_name);
    const PeerFiles files(folder);
    make_private_folder(files.folder);
    const FolderLock lock(files.folder);
    if (is_enrolled(files))
        throw_error(Code::kRefused,
                    "{}: this machine is enrolled already; one machine is of one authority only",
                    files.folder);
    const std::int64_t now = clock();
    const KeyPtr key = make_key();
    KeyPtr own_key = make_key();
    CertificatePtr authority = make_authority(*key, "dupengine authority of " + own_name.substr(0, 32),
                                              validity_for(now, kAuthorityDays), random);
    CertificatePtr own =
        issue_certificate({own_name, validity_for(now, kAuthorityDays)}, *own_key, *key, *authority, random);
    make_private_folder(files.authority_folder());
    write_file_atomic(files.authority_key(), secret_to_pem(*key).all(), 0600, Code::kTargetIo);
    write_issued(files, {issued_of(*own)});
    const RevocationListPtr none = make_revocation_list({}, 1, now - kClockSlack, *key, *authority);
    // Last: what was cut before this is no enrolment, and is made anew.
    write_enrolment(files, {std::move(own_key), std::move(own), std::move(authority)}, *none, lock);
}

Authority::Authority(const std::string& folder, RandomSource& random, Clock clock) {
    const PeerFiles files(folder);
    if (!is_in(folder))
        throw_error(Code::kRefused,
                    "{}: this machine has no authority: it has enrolled nobody, or was enrolled by another",
                    folder);
    const Secret secret = read_secret_file(files.authority_key());
    KeyPtr key = key_from_pem(as_text(secret.all()), files.authority_key());
    state_ = std::make_unique<State>(
        State{files, read_enrolment(files), std::move(key), random, std::move(clock)});
    if (X509_check_private_key(state_->own.authority.get(), state_->key.get()) != 1) {
        ERR_clear_error();
        throw_error(Code::kAuthenticity, "{}: is not the key of the authority in {}", files.authority_key(),
                    files.enrolment());
    }
}

Authority::~Authority() = default;

Welcome Authority::issue(const std::string& name, const std::string& request, NameInUse in_use) {
    check_peer_name(name);
    const KeyPtr key = key_of_request(request);
    const FolderLock lock(state_->files.authority_folder());
    std::vector<Issued> all = state_->issued();
    const bool is_used = std::ranges::any_of(
        all, [&](const Issued& one) { return one.name == name && state_->is_valid(one); });
    const std::string own = identity_of(*state_->own.certificate).name;
    if (is_used && (in_use == NameInUse::kRefuse || name == own))
        throw_error(Code::kRefused, "the name {} is in use; take another one{}", name,
                    name == own ? "" : ", or revoke it first");
    const CertificatePtr certificate =
        issue_certificate({name, validity_for(state_->clock(), kMachineDays)}, *key, *state_->key,
                          *state_->own.authority, state_->random);
    all.push_back(issued_of(*certificate));
    all.back().is_pending = true;
    write_issued(state_->files, all);
    return {to_pem(*certificate), to_pem(*state_->own.authority),
            to_pem(*read_revoked(state_->files, *state_->own.authority))};
}

void Authority::confirm(const std::string& serial) {
    const FolderLock lock(state_->files.authority_folder());
    std::vector<Issued> all = read_issued(state_->files);
    for (Issued& one : all)
        if (one.serial == serial) one.is_pending = false;
    write_issued(state_->files, all);
}

std::vector<Issued> Authority::revoke_abandoned(std::int64_t seconds) {
    const FolderLock lock(state_->files.authority_folder());
    std::vector<Issued> found = state_->issued();
    std::erase_if(found, [&](const Issued& one) {
        const std::int64_t given_out = one.begin + kClockSlack;
        return !one.is_pending || !state_->is_valid(one) || state_->clock() - given_out <= seconds;
    });
    if (!found.empty()) state_->revoke(found);
    return found;
}

std::vector<Issued> Authority::issued() const {
    return state_->issued();
}

std::vector<Issued> Authority::revoke(const std::string& name_or_serial) {
    const FolderLock lock(state_->files.authority_folder());
    std::vector<Issued> found;
    for (const Issued& one : state_->issued())
        if (one.serial == name_or_serial || (one.name == name_or_serial && state_->is_valid(one)))
            found.push_back(one);
    std::erase_if(found, [](const Issued& one) { return one.revoked.has_value(); });
    if (found.empty())
        throw_error(Code::kRefused, "{}: no valid certificate has this name or serial number; see enrol list",
                    name_or_serial);
    const std::string own = identity_of(*state_->own.certificate).serial;
    if (std::ranges::find(found, own, &Issued::serial) != found.end())
        throw_error(Code::kRefused, "{}: is the machine that holds the authority; it cannot revoke itself",
                    name_or_serial);
    state_->revoke(found);
    for (Issued& one : found)
        one.revoked = state_->clock();
    return found;
}

void Authority::revoke_others(const std::string& name, const std::string& kept_serial) {
    const FolderLock lock(state_->files.authority_folder());
    std::vector<Issued> found = state_->issued();
    std::erase_if(found, [&](const Issued& one) {
        return one.name != name || one.serial == kept_serial || !state_->is_valid(one);
    });
    if (!found.empty()) state_->revoke(found);
}

}  // namespace dupengine::wire
