#pragma once
// Authorities and enrolled machines for tests, made when the test runs: no secret key is in the tree. Good
// ones, and every kind of bad one.

#include <memory>
#include <string>

#include "tests/support/scratch.h"
#include "wire/certificates.h"
#include "wire/peer_files.h"

namespace dupengine::test {

class TestPki {
  public:
    explicit TestPki(std::uint64_t seed = 1);

    /// A machine with a folder of its own, enrolled by this authority: expired, not yet valid or of another
    /// use if the order says so. `folder` is what Credentials take.
    std::string enrol(const wire::CertificateOrder& order);
    /// As above, valid now.
    std::string enrol(const std::string& name);
    std::unique_ptr<wire::Credentials> credentials(const std::string& name);

    /// All machines' folders keep the list they have; `folder` gets a new one, in which `name` is revoked.
    void revoke(const std::string& name, const std::string& folder);

    /// Now, and some time before and after.
    static wire::Validity now(std::int64_t seconds_before = 3600, std::int64_t seconds_after = 3600);

    const ScratchFolder& scratch() const { return scratch_; }
    EVP_PKEY& key() const { return *key_; }
    X509& authority() const { return *authority_; }

  private:
    ScratchFolder scratch_;
    SeededRandom random_;
    wire::KeyPtr key_;
    wire::CertificatePtr authority_;
    wire::RevocationListPtr revoked_;
    std::vector<std::pair<std::string, std::string>> serials_;  // name, serial
    std::uint64_t number_ = 1;
    int machines_ = 0;
};

}  // namespace dupengine::test
