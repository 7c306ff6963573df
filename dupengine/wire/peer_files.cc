#include "wire/peer_files.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <exception>

namespace dupengine::wire {
namespace {

constexpr std::size_t kSecretFileLimit = 64 * kKiB;

// The certificates of a PEM text, one after the other.
std::vector<std::string_view> certificates_in(std::string_view text) {
    constexpr std::string_view kBegin = "-----BEGIN CERTIFICATE-----";
    std::vector<std::string_view> found;
    for (std::size_t at = text.find(kBegin); at != std::string_view::npos;) {
        const std::size_t next = text.find(kBegin, at + 1);
        found.push_back(text.substr(at, next == std::string_view::npos ? next : next - at));
        at = next;
    }
    return found;
}

// Others may look into those, and write to none of them, whatever the umask.
void make_parents(const std::string& path) {
    for (std::size_t end = path.find('/', 1); end != std::string::npos; end = path.find('/', end + 1)) {
        const std::string parent = path.substr(0, end);
        if (::mkdir(parent.c_str(), 0755) != 0 && errno != EEXIST)
            throw_errno(Code::kTargetIo, errno, "{}: cannot be made", parent);
    }
}

// A file of ours that need not be there.
void remove_file(const std::string& path) {
    if (::unlink(path.c_str()) != 0 && errno != ENOENT)
        throw_errno(Code::kTargetIo, errno, "{}: cannot be removed", path);
}

void write_list(const std::string& path, const X509_CRL& list) {
    const std::string text = to_pem(list);
    write_file_atomic(path, as_bytes(text), 0644, Code::kTargetIo);
}

}  // namespace

void make_private_folder(const std::string& path) {
    make_parents(path);
    if (::mkdir(path.c_str(), 0700) != 0 && errno != EEXIST)
        throw_errno(Code::kTargetIo, errno, "{}: cannot be made", path);
    const Fd folder = open_path(path, O_RDONLY | O_DIRECTORY, Code::kTargetIo);
    struct stat info {};
    if (::fstat(folder.get(), &info) != 0) throw_errno(Code::kTargetIo, errno, "{}", path);
    // Whoever can write to it can put another enrolment, or an older list, in the place of ours.
    if (info.st_uid != ::geteuid() || (info.st_mode & 022) != 0)
        throw_error(Code::kRefused,
                    "{}: belongs to another user, or others may write to it; chown it, and chmod 700", path);
    if (::fsync(folder.get()) != 0) throw_errno(Code::kTargetIo, errno, "{}: flush failed", path);
}

Secret read_secret_file(const std::string& path) {
    const Fd fd = open_path(path, O_RDONLY, Code::kAuthenticity);
    struct stat info {};
    if (::fstat(fd.get(), &info) != 0) throw_errno(Code::kAuthenticity, errno, "{}", path);
    if ((info.st_mode & 077) != 0)
        throw_error(Code::kUsage, "{}: others than its owner may read this secret key; chmod 600 it", path);
    if (info.st_uid != ::geteuid() && info.st_uid != 0)
        throw_error(Code::kUsage, "{}: this secret key belongs to another user; chown it", path);
    if (!S_ISREG(info.st_mode) || info.st_size < 0 ||
        static_cast<std::uint64_t>(info.st_size) > kSecretFileLimit)
        throw_error(Code::kAuthenticity, "{}: too large to be a key", path);
    Secret text(static_cast<std::size_t>(info.st_size));
    pread_exact(fd.get(), 0, text.all(), Code::kAuthenticity, path);
    return text;
}

bool is_enrolled(const PeerFiles& files) {
    return ::access(files.enrolment().c_str(), F_OK) == 0;
}

Enrolment read_enrolment(const PeerFiles& files) {
    const std::string path = files.enrolment();
    if (!is_enrolled(files))
        throw_error(Code::kAuthenticity,
                    "this machine is not enrolled ({} is not there): dupengine enrol join does that", path);
    const Secret secret = read_secret_file(path);
    const std::string_view text = as_text(secret.all());
    const auto certificates = certificates_in(text);
    if (certificates.size() != 2)
        throw_error(Code::kAuthenticity, "{}: {} certificates where there should be 2", path,
                    certificates.size());
    Enrolment enrolment{key_from_pem(text, path), certificate_from_pem(certificates[0], path),
                        certificate_from_pem(certificates[1], path)};
    const bool matches =
        X509_check_private_key(enrolment.certificate.get(), enrolment.key.get()) == 1 &&
        X509_verify(enrolment.certificate.get(), X509_get0_pubkey(enrolment.authority.get())) == 1;
    ERR_clear_error();
    if (!matches)
        throw_error(Code::kAuthenticity, "{}: key, certificate and authority do not belong together", path);
    return enrolment;
}

// Until the enrolment is the new one, the new list lies beside the old one, and is of no authority that
// counts; from then on the old one is. So the two never have to be replaced in one step.
void write_enrolment(const PeerFiles& files, const Enrolment& enrolment, const X509_CRL& revoked,
                     const FolderLock& lock) {
    const Secret key = secret_to_pem(*enrolment.key);
    const std::string certificates = to_pem(*enrolment.certificate) + to_pem(*enrolment.authority);
    Secret all(key.size() + certificates.size());
    std::memcpy(all.chars(), key.chars(), key.size());
    std::memcpy(all.chars() + key.size(), certificates.data(), certificates.size());
    write_list(files.next_revoked(), revoked);
    write_file_atomic(files.enrolment(), all.all(), 0600, Code::kTargetIo);
    write_revoked(files, revoked, lock);
}

void remove_enrolment(const PeerFiles& files, const FolderLock&) {
    for (const std::string& path : {files.enrolment(), files.revoked(), files.next_revoked()})
        remove_file(path);
}

RevocationListPtr read_revoked(const PeerFiles& files, X509& authority) {
    RevocationListPtr newest;
    std::exception_ptr why;
    for (const std::string& path : {files.revoked(), files.next_revoked()}) {
        if (path == files.next_revoked() && ::access(path.c_str(), F_OK) != 0) continue;
        try {
            const std::string text = read_file(path, Code::kAuthenticity, kRevokedLimit);
            RevocationListPtr list = revocation_list_from_pem(text, authority, path);
            if (newest == nullptr || number_of(*list) > number_of(*newest)) newest = std::move(list);
        } catch (const Error&) {
            if (!why) why = std::current_exception();
        }
    }
    if (newest == nullptr) std::rethrow_exception(why);
    return newest;
}

void write_revoked(const PeerFiles& files, const X509_CRL& list, const FolderLock&) {
    write_list(files.revoked(), list);
    remove_file(files.next_revoked());
}

RevocationListPtr learn_revoked(const PeerFiles& files, X509& authority, std::string_view pem,
                                const std::string& from) {
    RevocationListPtr theirs = revocation_list_from_pem(pem, authority, from);
    RevocationListPtr ours = read_revoked(files, authority);
    if (number_of(*theirs) <= number_of(*ours)) return ours;
    try {
        const FolderLock lock(files.folder);
        ours = read_revoked(files, authority);
        if (number_of(*theirs) <= number_of(*ours)) return ours;
        write_revoked(files, *theirs, lock);
    } catch (const Error& e) {
        // A rescue system may have it on a medium that cannot be written. The next connection learns it
        // again.
        if (e.code() != Code::kTargetIo) throw;
    }
    return theirs;
}

FolderLock::FolderLock(const std::string& folder)
    : fd_(open_path(folder, O_RDONLY | O_DIRECTORY, Code::kTargetIo)) {
    while (::flock(fd_.get(), LOCK_EX) != 0)
        if (errno != EINTR) throw_errno(Code::kTargetIo, errno, "{}: cannot be locked", folder);
}

}  // namespace dupengine::wire
