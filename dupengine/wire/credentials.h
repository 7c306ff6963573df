#pragma once
// Who this machine is to others, and whom it takes: its key and certificate, the certificate of the authority
// that enrolled it, and the list of what that authority has revoked. A folder of files, which enrolment
// writes (enrolment.h); its form is in dupengine-formats(5). Secret keys are read only from files that nobody
// but their owner may read. OpenSSL stays behind this header.
//
// Threads: any number may use one object at a time.

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "codec/digest.h"

namespace dupengine::wire {

inline constexpr const char* kPeersFolder = "/etc/dupengine/peers";

/// Who is at the other end, as its certificate says and our authority vouches for.
struct PeerIdentity {
    std::string name;            ///< as it was enrolled: letters, digits, '.', '-', '_'; at most 64
    std::string serial;          ///< of its certificate: hexadecimal digits
    codec::Sha256 key_sha256{};  ///< of its SubjectPublicKeyInfo (RFC 5280): changes only with its key
    bool operator==(const PeerIdentity&) const = default;
};

class Credentials {
  public:
    /// Throws kAuthenticity if this machine is not enrolled, or if what is in the folder does not belong
    /// together; kUsage if others can read the key.
    explicit Credentials(const std::string& folder = kPeersFolder);
    /// Without a look at the clock: what a machine with a wrong one shows to others.
    static std::unique_ptr<Credentials> unchecked(const std::string& folder);
    ~Credentials();
    Credentials(const Credentials&) = delete;
    Credentials& operator=(const Credentials&) = delete;

    /// This machine.
    const PeerIdentity& identity() const;
    const std::string& folder() const;

    struct State;  // for channel.cc
    const State& state() const { return *state_; }

  private:
    explicit Credentials(std::unique_ptr<State> state);
    std::unique_ptr<State> state_;
};

struct CredentialFile {
    std::string name, content;
};
/// The files that another system of this machine needs to be the same one to others. What only an authority
/// has is not among them. Throws as Credentials.
std::vector<CredentialFile> credential_files(const std::string& folder);

}  // namespace dupengine::wire
