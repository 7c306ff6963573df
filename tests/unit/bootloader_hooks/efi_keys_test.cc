// The keys that dupengine.efi believes are put into the place that it has for them, and into nothing else.

#include "bootloader_hooks/efi_keys.h"

#include <gmock/gmock.h>

#include <algorithm>

namespace dupengine {
namespace {

using ::testing::HasSubstr;

// A program as the linker makes it, as far as it is looked at.
Bytes program() {
    Bytes bytes(4096, std::byte{0x5a});
    store_le<std::uint32_t>(bytes, 0x3c, 0x78);
    store_le<std::uint32_t>(bytes, 0x78, 0x4550);
    store_le<std::uint16_t>(bytes, 0x78 + 24, 0x20b);
    store_le<std::uint32_t>(bytes, 0x78 + 24 + 112 + 8 * 4 + 4, 0);
    const auto section = std::span(bytes).subspan(2048, boot::keys::kBytes);
    std::ranges::fill(section, std::byte{0});
    std::ranges::copy(std::as_bytes(std::span(boot::keys::kMagic)), section.begin());
    return bytes;
}

std::string message_of(Code code, const Bytes& bytes, const std::vector<boot::PublicKey>& trusted) {
    try {
        boot::with_keys(bytes, trusted);
    } catch (const Error& e) {
        EXPECT_EQ(e.code(), code);
        return e.what();
    }
    return "no error";
}

boot::PublicKey key(int fill) {
    boot::PublicKey key;
    key.fill(static_cast<std::byte>(fill));
    return key;
}

TEST(EfiKeys, ReplaceThoseThatWereThere) {
    const Bytes before = program();
    const std::vector<boot::PublicKey> three = {key(1), key(2), key(3)}, one = {key(4)};
    const Bytes with_three = boot::with_keys(before, three);
    EXPECT_EQ(load_le<std::uint32_t>(with_three, 2048 + boot::keys::kCountAt), 3u);
    EXPECT_EQ(with_three[2048 + boot::keys::kKeysAt + 2 * 32], std::byte{3});
    const Bytes with_one = boot::with_keys(with_three, one);
    EXPECT_EQ(with_one, boot::with_keys(before, one));
    EXPECT_EQ(boot::with_keys(with_one, {}), before);
}

TEST(EfiKeys, GoIntoNothingElse) {
    const std::vector<boot::PublicKey> one = {key(1)};
    Bytes bytes = program();
    store_le<std::uint32_t>(bytes, 0x78 + 24 + 112 + 8 * 4 + 4, 1500);
    EXPECT_THAT(message_of(Code::kRefused, bytes, one), HasSubstr("Secure Boot"));
    bytes = program();
    bytes[2048] = std::byte{0};
    EXPECT_THAT(message_of(Code::kUsage, bytes, one), HasSubstr("no dupengine.efi"));
    bytes = program();
    bytes.resize(2048 + boot::keys::kBytes - 1);
    EXPECT_THAT(message_of(Code::kUsage, bytes, one), HasSubstr("no dupengine.efi"));
    const std::vector<boot::PublicKey> too_many(9, key(1));
    EXPECT_THAT(message_of(Code::kRefused, program(), too_many), HasSubstr("8 keys"));
}

}  // namespace
}  // namespace dupengine
