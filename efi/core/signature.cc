#include "efi/core/signature.h"

#include "efi/core/sha256.h"
#include "image/signature_format.h"

namespace dupengine::efi {
namespace {

namespace words = image::signature_words;
static_assert(words::kPublicBytes == sizeof(PublicKey) && words::kSignatureBytes == kSignatureBytes);

// Takes a signature apart, from its beginning.
class Parts {
  public:
    explicit Parts(TextView text) : rest_(text) {}

    bool word(TextView expected) {
        if (!rest_.starts_with(expected)) return false;
        rest_ = rest_.after(expected.size());
        return true;
    }
    // Small letters only, so that a signature has one form.
    bool digits(Buffer into) {
        if (rest_.size() < 2 * into.size()) return false;
        for (std::size_t i = 0; i < into.size(); ++i) {
            const unsigned high = value_of(rest_[2 * i]), low = value_of(rest_[2 * i + 1]);
            if (high > 15 || low > 15) return false;
            into[i] = static_cast<std::byte>(high << 4 | low);
        }
        rest_ = rest_.after(2 * into.size());
        return true;
    }
    bool at_end() const { return rest_.empty(); }

  private:
    static unsigned value_of(char c) {
        if (c >= '0' && c <= '9') return static_cast<unsigned>(c - '0');
        return c >= 'a' && c <= 'f' ? static_cast<unsigned>(c - 'a') + 10 : 16;
    }
    TextView rest_;
};

struct Signature {
    Sha256 key{};  ///< of the public key
    std::array<std::byte, kSignatureBytes> bytes{};
};

bool parse(TextView text, TextView prefix, Signature& signature) {
    Parts parts(text);
    return parts.word(prefix) && parts.word(words::kFirstLine) && parts.word(prefix) &&
           parts.word(words::kKeyWord) && parts.digits(signature.key) && parts.word("\n") &&
           parts.word(prefix) && parts.word(words::kEd25519Word) && parts.digits(signature.bytes) &&
           parts.word("\n") && parts.at_end();
}

Vouched check(const Trust& trust, TextView purpose, Bytes content, const Signature& signature) {
    std::array<std::byte, 64 + sizeof(Sha256)> message{};
    std::size_t size = 0;
    for (char c : purpose)
        message[size++] = static_cast<std::byte>(c);
    for (std::byte b : sha256(content))
        message[size++] = b;
    for (const PublicKey& key : trust.keys)
        if (equal(sha256(key), signature.key))
            return is_signed_by(key, Bytes(message).first(size), signature.bytes) ? Vouched::kYes
                                                                                  : Vouched::kChanged;
    return Vouched::kStranger;
}

}  // namespace

Vouched check_file(const Trust& trust, Bytes content, TextView text) {
    if (text.empty()) return Vouched::kMissing;
    Signature signature;
    if (!parse(text, "", signature)) return Vouched::kDamaged;
    return check(trust, words::kOfBootFile, content, signature);
}

Vouched check_profile(const Trust& trust, TextView text) {
    if (text.size() < words::kProfileBytes) return Vouched::kMissing;
    const std::size_t end = text.size() - words::kProfileBytes;
    Parts beginning(text.after(end));
    if (!beginning.word(words::kCommentPrefix) || !beginning.word(words::kFirstLine))
        return Vouched::kMissing;
    Signature signature;
    if (!parse(text.after(end), words::kCommentPrefix, signature)) return Vouched::kDamaged;
    return check(trust, words::kOfProfile, std::as_bytes(std::span(text.data(), end)), signature);
}

TextView fault_text(SignedThing thing, Vouched vouched) {
    if (vouched == Vouched::kYes) return {};
    static constexpr std::array<std::array<TextView, 4>, 5> kTexts = {
        {{"its profile is not signed", "its profile's signature is damaged",
          "its profile is signed with a key that is not trusted here", "its profile is not as it was signed"},
         {"its loader is not signed", "its loader's signature is damaged",
          "its loader is signed with a key that is not trusted here", "its loader is not as it was signed"},
         {"its kernel is not signed", "its kernel's signature is damaged",
          "its kernel is signed with a key that is not trusted here", "its kernel is not as it was signed"},
         {"its initrd is not signed", "its initrd's signature is damaged",
          "its initrd is signed with a key that is not trusted here", "its initrd is not as it was signed"},
         {"the image is not signed", "the image's signature is damaged",
          "the image is signed with a key that is not trusted here", "the image is not as it was signed"}}};
    return kTexts[static_cast<std::size_t>(thing)][static_cast<std::size_t>(vouched) - 1];
}

}  // namespace dupengine::efi
