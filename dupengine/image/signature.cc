#include "image/signature.h"

#include <fcntl.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <filesystem>

#include "base/fd.h"
#include "codec/digest.h"

namespace dupengine::image {
namespace {

using signature_words::kPublicBytes, signature_words::kSignatureBytes;
constexpr std::string_view kFirstLine = signature_words::kFirstLine;
constexpr std::size_t kKeyFileLimit = 16 * kKiB;

struct FreeKey {
    void operator()(EVP_PKEY* key) const { EVP_PKEY_free(key); }
};
struct FreeBio {
    void operator()(BIO* bio) const { BIO_free(bio); }
};
struct FreeContext {
    void operator()(EVP_MD_CTX* context) const { EVP_MD_CTX_free(context); }
};
using KeyPtr = std::unique_ptr<EVP_PKEY, FreeKey>;
using BioPtr = std::unique_ptr<BIO, FreeBio>;
using ContextPtr = std::unique_ptr<EVP_MD_CTX, FreeContext>;
using PublicBytes = std::array<std::byte, kPublicBytes>;

Bytes message_of(std::string_view purpose, std::span<const std::byte> content) {
    Bytes message(purpose.size() + content.size());
    std::memcpy(message.data(), purpose.data(), purpose.size());
    std::ranges::copy(content, message.begin() + static_cast<std::ptrdiff_t>(purpose.size()));
    return message;
}

PublicBytes public_bytes(const EVP_PKEY* key) {
    PublicBytes bytes;
    std::size_t size = bytes.size();
    if (EVP_PKEY_get_raw_public_key(key, reinterpret_cast<unsigned char*>(bytes.data()), &size) != 1 ||
        size != bytes.size())
        throw_error(Code::kInternal, "OpenSSL gives no public key");
    return bytes;
}

std::string id_of(const EVP_PKEY* key) {
    return to_hex(codec::sha256(public_bytes(key)));
}

// No question for a passphrase: a key file is protected by its mode.
int no_passphrase(char*, int, int, void*) {
    return -1;
}

KeyPtr parse_key(std::string_view text, bool is_public, const std::string& path) {
    const BioPtr bio(BIO_new_mem_buf(text.data(), static_cast<int>(text.size())));
    KeyPtr key(is_public ? PEM_read_bio_PUBKEY(bio.get(), nullptr, no_passphrase, nullptr)
                         : PEM_read_bio_PrivateKey(bio.get(), nullptr, no_passphrase, nullptr));
    if (key == nullptr || EVP_PKEY_get_base_id(key.get()) != EVP_PKEY_ED25519)
        throw_error(Code::kUsage, "{}: not {} Ed25519 key in PEM; dupengine image keygen makes one", path,
                    is_public ? "a public" : "a secret");
    return key;
}

std::string_view text_of(const BioPtr& bio) {
    char* data = nullptr;
    const auto size = BIO_get_mem_data(bio.get(), &data);
    return {data, static_cast<std::size_t>(size)};
}

void write_new_file(const std::string& path, std::string_view text, unsigned mode) {
    Fd fd(::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode));
    if (!fd.valid())
        throw_errno(errno == EEXIST ? Code::kRefused : Code::kTargetIo, errno, "{}: no new key is made",
                    path);
    pwrite_exact(fd.get(), 0, as_bytes(text), Code::kTargetIo, path);
    if (::fsync(fd.get()) != 0) throw_errno(Code::kTargetIo, errno, "{}: flush failed", path);
    fd.close(Code::kTargetIo, path);
}

// "dupengine signature 1\nkey HEX\ned25519 HEX\n", to the byte.
struct ParsedSignature {
    std::string key_id;
    Bytes signature;
};

ParsedSignature parse_signature(std::span<const std::byte> bytes) {
    const std::string_view text = as_text(bytes);
    constexpr std::string_view kKey = signature_words::kKeyWord, kEd25519 = signature_words::kEd25519Word;
    const std::size_t id_at = kFirstLine.size() + kKey.size();
    const std::size_t second = id_at + 2 * sizeof(codec::Sha256) + 1;
    const std::size_t signature_at = second + kEd25519.size();
    const auto is_hex = [](std::string_view digits) {
        return digits.find_first_not_of("0123456789abcdef") == std::string_view::npos;
    };
    if (text.size() != signature_at + 2 * kSignatureBytes + 1 || !text.starts_with(kFirstLine) ||
        text.substr(kFirstLine.size(), kKey.size()) != kKey || text[second - 1] != '\n' ||
        text.substr(second, kEd25519.size()) != kEd25519 || text.back() != '\n' ||
        !is_hex(text.substr(id_at, second - 1 - id_at)) ||
        !is_hex(text.substr(signature_at, 2 * kSignatureBytes)))
        throw_error(Code::kAuthenticity, "the signature is damaged");
    return {std::string(text.substr(id_at, second - 1 - id_at)),
            from_hex(text.substr(signature_at, 2 * kSignatureBytes))};
}

}  // namespace

void make_signing_key(const std::string& path) {
    const KeyPtr key(EVP_PKEY_Q_keygen(nullptr, nullptr, "ED25519"));
    const BioPtr secret(BIO_new(BIO_s_secmem())), open(BIO_new(BIO_s_mem()));
    if (key == nullptr ||
        PEM_write_bio_PKCS8PrivateKey(secret.get(), key.get(), nullptr, nullptr, 0, nullptr, nullptr) != 1 ||
        PEM_write_bio_PUBKEY(open.get(), key.get()) != 1)
        throw_error(Code::kInternal, "OpenSSL makes no Ed25519 key");
    // The public one first: without it the secret one is of no use to anybody, the other way round it is.
    write_new_file(path + ".pub", text_of(open), 0644);
    try {
        write_new_file(path, text_of(secret), 0600);
    } catch (...) {
        static_cast<void>(::unlink((path + ".pub").c_str()));
        throw;
    }
}

struct SigningKey::State {
    KeyPtr key;
};

SigningKey::SigningKey(const std::string& path) : state_(std::make_unique<State>()) {
    const Fd fd = open_path(path, O_RDONLY, Code::kUsage);
    struct stat info {};
    if (::fstat(fd.get(), &info) != 0) throw_errno(Code::kUsage, errno, "{}", path);
    if ((info.st_mode & 077) != 0)
        throw_error(Code::kUsage, "{}: others than its owner may read this secret key; chmod 600 it", path);
    Bytes text = read_to_end(fd.get(), kKeyFileLimit, path);
    state_->key = parse_key(as_text(text), false, path);
    OPENSSL_cleanse(text.data(), text.size());
}

SigningKey::~SigningKey() = default;

std::string SigningKey::id() const {
    return id_of(state_->key.get());
}

std::string SigningKey::sign(std::span<const std::byte> content, std::string_view purpose) const {
    const Bytes message = message_of(purpose, content);
    const ContextPtr context(EVP_MD_CTX_new());
    std::array<std::byte, kSignatureBytes> signature{};
    std::size_t size = signature.size();
    if (EVP_DigestSignInit(context.get(), nullptr, nullptr, nullptr, state_->key.get()) != 1 ||
        EVP_DigestSign(context.get(), reinterpret_cast<unsigned char*>(signature.data()), &size,
                       reinterpret_cast<const unsigned char*>(message.data()), message.size()) != 1 ||
        size != signature.size())
        throw_error(Code::kInternal, "OpenSSL signs nothing");
    return fmt::format("{}{}{}\n{}{}\n", kFirstLine, signature_words::kKeyWord, id(),
                       signature_words::kEd25519Word, to_hex(signature));
}

PublicBytes read_public_key(const std::string& path) {
    return public_bytes(parse_key(read_file(path, Code::kUsage, kKeyFileLimit), true, path).get());
}

struct TrustedKeys::Key {
    std::string file;
    std::string id;
    KeyPtr key;
};

TrustedKeys::TrustedKeys() = default;
TrustedKeys::~TrustedKeys() = default;

bool TrustedKeys::empty() const {
    return keys_.empty();
}

void TrustedKeys::add_file(const std::string& path) {
    KeyPtr key = parse_key(read_file(path, Code::kUsage, kKeyFileLimit), true, path);
    keys_.push_back({path, id_of(key.get()), std::move(key)});
}

void TrustedKeys::add_folder(const std::string& path) {
    std::error_code error;
    std::vector<std::string> files;
    for (const auto& entry : std::filesystem::directory_iterator(path, error))
        if (entry.path().extension() == ".pub") files.push_back(entry.path());
    if (error && error != std::errc::no_such_file_or_directory)
        throw_errno(Code::kUsage, error.value(), "{}: keys cannot be looked for", path);
    std::ranges::sort(files);
    for (const std::string& file : files)
        add_file(file);
}

std::string TrustedKeys::verify(std::span<const std::byte> manifest,
                                std::span<const std::byte> signature) const {
    const ParsedSignature parsed = parse_signature(signature);
    const auto key = std::ranges::find(keys_, parsed.key_id, &Key::id);
    if (key == keys_.end())
        throw_error(Code::kAuthenticity, "it is signed with the key {}..., which is not trusted here",
                    parsed.key_id.substr(0, 16));
    const Bytes message = message_of(signature_words::kOfManifest, manifest);
    const ContextPtr context(EVP_MD_CTX_new());
    if (EVP_DigestVerifyInit(context.get(), nullptr, nullptr, nullptr, key->key.get()) != 1 ||
        EVP_DigestVerify(context.get(), reinterpret_cast<const unsigned char*>(parsed.signature.data()),
                         parsed.signature.size(), reinterpret_cast<const unsigned char*>(message.data()),
                         message.size()) != 1)
        throw_error(Code::kAuthenticity, "the signature is not of this manifest");
    return key->file;
}

}  // namespace dupengine::image
