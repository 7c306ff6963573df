#include "wire/token.h"

#include <algorithm>

#include "codec/digest.h"

namespace dupengine::wire {
namespace {

constexpr std::string_view kAlphabet = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";
constexpr std::string_view kChecksumLabel = "dupengine enrolment token 1";
constexpr std::string_view kIdentityLabel = "dupengine enrolment identity 1";
constexpr std::string_view kKeyLabel = "dupengine enrolment key 1";
constexpr std::size_t kChecksumBytes = 3, kIdentityBytes = 16;
constexpr std::size_t kAllBytes = kTokenBytes + kChecksumBytes;  // 280 bits: 56 digits, none of them in part
constexpr std::size_t kDigits = kAllBytes * 8 / 5, kGroup = 4;

codec::Sha256 checksum_of(std::span<const std::byte> token) {
    codec::Sha256Stream stream;
    stream.update(as_bytes(kChecksumLabel));
    stream.update(token);
    return stream.finish();
}

// The value of a digit, or -1.
int digit_value(char c) {
    if (c >= 'a' && c <= 'z') c = static_cast<char>(c - 'a' + 'A');
    if (c == 'I' || c == 'L') c = '1';
    if (c == 'O') c = '0';
    const std::size_t at = kAlphabet.find(c);
    return at == std::string_view::npos ? -1 : static_cast<int>(at);
}

unsigned five_bits(std::span<const std::byte> bytes, std::size_t digit) {
    unsigned value = 0;
    for (std::size_t bit = digit * 5; bit < digit * 5 + 5; ++bit)
        value = value << 1 | (std::to_integer<unsigned>(bytes[bit / 8]) >> (7 - bit % 8) & 1);
    return value;
}

void set_five_bits(std::span<std::byte> bytes, std::size_t digit, unsigned value) {
    for (std::size_t i = 0; i < 5; ++i) {
        const std::size_t bit = digit * 5 + i;
        bytes[bit / 8] |= static_cast<std::byte>((value >> (4 - i) & 1) << (7 - bit % 8));
    }
}

}  // namespace

Secret draw_token(RandomSource& random) {
    Secret token(kTokenBytes);
    random.fill(token.all());
    return token;
}

std::string token_text(const Secret& token) {
    Secret all(kAllBytes);
    const codec::Sha256 checksum = checksum_of(token.all());
    std::copy_n(token.all().begin(), kTokenBytes, all.all().begin());
    std::copy_n(checksum.begin(), kChecksumBytes, all.all().begin() + kTokenBytes);
    std::string text;
    text.reserve(kDigits + kDigits / kGroup);
    for (std::size_t i = 0; i < kDigits; ++i) {
        if (i != 0 && i % kGroup == 0) text += '-';
        text += kAlphabet[five_bits(all.all(), i)];
    }
    return text;
}

Secret parse_token(std::string_view text) {
    Secret all(kAllBytes);
    std::size_t digits = 0;
    for (const char c : text) {
        if (c == '-' || c == ' ' || c == '\t' || c == '\r' || c == '\n') continue;
        const int value = digit_value(c);
        if (value < 0)
            throw_error(Code::kUsage,
                        "the token has a character that no token has, after {} digits; it is mistyped",
                        digits);
        if (digits < kDigits) set_five_bits(all.all(), digits, static_cast<unsigned>(value));
        ++digits;
    }
    if (digits != kDigits)
        throw_error(Code::kUsage, "a token has {} letters and digits, this one {}", kDigits, digits);
    Secret token(kTokenBytes);
    std::copy_n(all.all().begin(), kTokenBytes, token.all().begin());
    const codec::Sha256 checksum = checksum_of(token.all());
    if (!std::equal(checksum.begin(), checksum.begin() + kChecksumBytes, all.all().begin() + kTokenBytes))
        throw_error(Code::kUsage, "the token is mistyped: its checksum does not hold");
    return token;
}

PresharedKey::PresharedKey(const Secret& token) : key(sizeof(codec::Sha256)) {
    const codec::Sha256 name = codec::hmac_sha256(token.all(), as_bytes(kIdentityLabel));
    identity.assign(name.begin(), name.begin() + kIdentityBytes);
    codec::Sha256 derived = codec::hmac_sha256(token.all(), as_bytes(kKeyLabel));
    std::copy(derived.begin(), derived.end(), key.all().begin());
    ::explicit_bzero(derived.data(), derived.size());
}

}  // namespace dupengine::wire
