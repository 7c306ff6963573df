#pragma once
// An SSH host key as the two files that sshd reads. Formats: OpenSSH's PROTOCOL.key ("openssh-key-v1", not
// encrypted); public keys RFC 4253 6.6, RFC 8709 (ed25519), RFC 5656 (ecdsa, nistp256).

#include <string>

#include "base/bytes.h"
#include "base/random.h"

namespace dupengine::profiles {

struct SshKey {
    std::string private_file;  ///< PEM, for mode 0600
    std::string public_file;   ///< one line
};

/// `seed` decides everything: the same seed gives the same files. At least 48 bytes for ecdsa, 32 for
/// ed25519. `type` is "ed25519" or "ecdsa".
SshKey ssh_key_of_seed(const std::string& type, std::span<const std::byte> seed, const std::string& comment);
std::size_t ssh_seed_bytes(const std::string& type);
/// A 3072-bit RSA key from OpenSSL's own generator: its primes cannot be derived from a short secret in a way
/// that other programs would repeat.
SshKey fresh_rsa_key(RandomSource& random, const std::string& comment);

/// "SHA256:..." as ssh-keygen -l prints it, of a line of a .pub file; empty if it is none.
std::string ssh_fingerprint(const std::string& public_line);

}  // namespace dupengine::profiles
