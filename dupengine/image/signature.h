#pragma once
// Who vouches for an image: Ed25519 (RFC 8032) over the exact bytes of its manifest; the same keys sign what
// firmware starts. Keys are PEM files as openssl(1) writes them: PKCS #8 for the secret one (RFC 5958),
// SubjectPublicKeyInfo for the public one (RFC 8410). The form of the signature file is in
// dupengine-formats(5). OpenSSL stays behind this header. Objects are used by one thread at a time.

#include <array>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "image/signature_format.h"

namespace dupengine::image {

/// Makes a key pair: `path`, which only its owner may read, and `path`.pub. Throws kRefused if either is
/// there already, kTargetIo.
void make_signing_key(const std::string& path);

class SigningKey {
  public:
    /// Throws kUsage if the file is no Ed25519 key, or others than its owner may read it.
    explicit SigningKey(const std::string& path);
    ~SigningKey();
    SigningKey(const SigningKey&) = delete;
    SigningKey& operator=(const SigningKey&) = delete;

    /// The text of the signature file. `purpose` is one of signature_format.h.
    std::string sign(std::span<const std::byte> content,
                     std::string_view purpose = signature_words::kOfManifest) const;
    /// SHA-256 of the public key, as hexadecimal digits.
    std::string id() const;

  private:
    struct State;
    std::unique_ptr<State> state_;
};

/// The 32 bytes of a public key. Throws kUsage if the file is none.
std::array<std::byte, signature_words::kPublicBytes> read_public_key(const std::string& path);

/// The keys whose images are taken.
class TrustedKeys {
  public:
    TrustedKeys();
    ~TrustedKeys();
    TrustedKeys(const TrustedKeys&) = delete;
    TrustedKeys& operator=(const TrustedKeys&) = delete;

    /// One public key. Throws kUsage if it is none.
    void add_file(const std::string& path);
    /// All *.pub of a folder; none if there is no folder. Throws as add_file.
    void add_folder(const std::string& path);
    bool empty() const;

    /// The file of the key that made the signature. Throws kAuthenticity if none of them did.
    std::string verify(std::span<const std::byte> manifest, std::span<const std::byte> signature) const;

  private:
    struct Key;
    std::vector<Key> keys_;
};

/// Where keys are looked for without being named.
inline constexpr const char* kTrustedFolder = "/etc/dupengine/trusted.d";
inline constexpr std::size_t kSignatureLimit = 4096;

}  // namespace dupengine::image
