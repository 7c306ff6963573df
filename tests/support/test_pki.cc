#include "tests/support/test_pki.h"

#include <ctime>

namespace dupengine::test {

using namespace dupengine::wire;

TestPki::TestPki(std::uint64_t seed) : random_(seed), key_(make_key()) {
    authority_ = make_authority(*key_, "authority of a test", now(7200, 7200), random_);
    revoked_ = make_revocation_list({}, number_, now().begin, *key_, *authority_);
}

Validity TestPki::now(std::int64_t seconds_before, std::int64_t seconds_after) {
    const std::int64_t time = std::time(nullptr);
    return {time - seconds_before, time + seconds_after};
}

std::string TestPki::enrol(const CertificateOrder& order) {
    KeyPtr key = make_key();
    CertificatePtr certificate = issue_certificate(order, *key, *key_, *authority_, random_);
    serials_.emplace_back(order.name, identity_of(*certificate).serial);
    const PeerFiles files(scratch_.file(std::to_string(++machines_) + "-" + order.name));
    CertificatePtr authority = certificate_from_pem(to_pem(*authority_), "authority");
    make_private_folder(files.folder);
    write_enrolment(files, {std::move(key), std::move(certificate), std::move(authority)}, *revoked_,
                    FolderLock(files.folder));
    return files.folder;
}

std::string TestPki::enrol(const std::string& name) {
    return enrol(CertificateOrder{.name = name, .validity = now()});
}

std::unique_ptr<Credentials> TestPki::credentials(const std::string& name) {
    return std::make_unique<Credentials>(enrol(name));
}

void TestPki::revoke(const std::string& name, const std::string& folder) {
    std::vector<Revoked> all = revoked_in(*revoked_);
    for (const auto& [known, serial] : serials_)
        if (known == name) all.push_back({serial, now().begin});
    const RevocationListPtr list = make_revocation_list(all, ++number_, now().begin, *key_, *authority_);
    const std::string text = to_pem(*list);
    write_file_atomic(PeerFiles(folder).revoked(), as_bytes(text), 0644, Code::kTargetIo);
}

}  // namespace dupengine::test
