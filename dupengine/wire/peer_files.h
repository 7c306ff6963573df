#pragma once
// The folder that holds a machine's enrolment (dupengine-formats(5)): which files, how they are read, and how
// they are replaced so that a cut leaves the old or the new. For wire/ alone. Used from one thread; processes
// that change the same folder take turns with FolderLock.

#include <string>

#include "base/fd.h"
#include "wire/certificates.h"

namespace dupengine::wire {

struct PeerFiles {
    explicit PeerFiles(std::string path) : folder(std::move(path)) {}
    std::string folder;
    /// Secret key, certificate, the authority's certificate, in this order: one file, so that they match.
    std::string enrolment() const { return folder + "/enrolment.pem"; }
    std::string revoked() const { return folder + "/revoked.pem"; }
    /// While an enrolment is replaced: the list that belongs to the new one, or after a cut to the one that
    /// is.
    std::string next_revoked() const { return folder + "/revoked-next.pem"; }
    /// Only on the machine that enrols others:
    std::string authority_folder() const { return folder + "/authority"; }
    std::string authority_key() const { return folder + "/authority/key.pem"; }
    std::string issued() const { return folder + "/authority/issued.json"; }
};

/// A revocation takes about 60 bytes in its list.
inline constexpr std::size_t kRevokedLimit = 4 * kMiB;

/// Makes the folder, for its owner alone, and those above it. Throws kTargetIo; kRefused for one that is
/// there and belongs to another user, or that others may write to.
void make_private_folder(const std::string& path);

/// Throws kUsage if others than the owner may read it, or if the owner is neither this user nor root;
/// kAuthenticity if it cannot be read.
Secret read_secret_file(const std::string& path);

/// While it lives, no other process changes the folder. Throws kTargetIo.
class FolderLock {
  public:
    explicit FolderLock(const std::string& folder);

  private:
    Fd fd_;
};

struct Enrolment {
    KeyPtr key;
    CertificatePtr certificate, authority;
};
/// Whether the machine is enrolled. Throws nothing.
bool is_enrolled(const PeerFiles& files);
/// Throws kAuthenticity if there is none, or its parts do not belong together.
Enrolment read_enrolment(const PeerFiles& files);
/// A cut at any moment leaves the old or the new, each with the list of its own authority. Throws kTargetIo.
void write_enrolment(const PeerFiles& files, const Enrolment& enrolment, const X509_CRL& revoked,
                     const FolderLock& lock);
/// This machine is enrolled no more. Throws kTargetIo.
void remove_enrolment(const PeerFiles& files, const FolderLock& lock);

/// The newest list on disk now that this authority has signed. Throws kAuthenticity if there is none: without
/// it nobody could be refused.
RevocationListPtr read_revoked(const PeerFiles& files, X509& authority);
/// Throws kTargetIo.
void write_revoked(const PeerFiles& files, const X509_CRL& list, const FolderLock& lock);
/// A list from another machine: taken if the authority has signed it and it is newer than ours. Returns the
/// newer of the two. A folder that cannot be written keeps its old list; this connection knows the new one.
RevocationListPtr learn_revoked(const PeerFiles& files, X509& authority, std::string_view pem,
                                const std::string& from);

}  // namespace dupengine::wire
