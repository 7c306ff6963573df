// LUKS headers, made by hand after their descriptions: what is believed and what means a whole copy.

#include "layout/luks.h"

#include <gmock/gmock.h>

#include "codec/digest.h"
#include "layout/crypt_table.h"
#include "layout/plaintext.h"
#include "layout/used_extents.h"
#include "tests/support/fake_devices.h"

namespace dupengine::layout {
namespace {

using block::Extent;
using test::MemoryDevice;
using ::testing::HasSubstr;

constexpr std::uint64_t kSize = 2 * kMiB, kHeaderBytes = 16 * kKiB, kPayload = kMiB;

void put(std::span<std::byte> bytes, std::size_t at, std::string_view text) {
    std::copy_n(as_bytes(text).begin(), text.size(), bytes.begin() + static_cast<std::ptrdiff_t>(at));
}
void put_be64(std::span<std::byte> bytes, std::size_t at, std::uint64_t value) {
    store_le<std::uint64_t>(bytes, at, __builtin_bswap64(value));
}

std::string json_text(const std::string& segment, const std::string& config = "{}") {
    return R"({"keyslots":{},"tokens":{},"digests":{},"segments":{)" + segment + R"(},"config":)" + config +
           "}";
}
const std::string kPlain =
    R"("0":{"type":"crypt","offset":"1048576","size":"dynamic","iv_tweak":"0","encryption":"aes-xts-plain64","sector_size":4096})";

// Both copies, sealed.
struct Luks2Disk {
    explicit Luks2Disk(const std::string& text) : device(kSize) {
        put_copy(0, std::string_view("LUKS\xba\xbe", 6), text, 3);
        put_copy(kHeaderBytes, std::string_view("SKUL\xba\xbe", 6), text, 3);
    }
    void put_copy(std::size_t at, std::string_view magic, const std::string& text, std::uint64_t sequence) {
        const std::span<std::byte> copy = std::span(device.bytes()->content).subspan(at, kHeaderBytes);
        std::fill(copy.begin(), copy.end(), std::byte{0});
        put(copy, 0, magic);
        copy[7] = std::byte{2};
        put_be64(copy, 8, kHeaderBytes);
        put_be64(copy, 16, sequence);
        put(copy, 72, "sha256");
        put(copy, 168, "01234567-89ab-cdef-0123-456789abcdef");
        put_be64(copy, 256, at);
        put(copy, 4096, text);
        const codec::Sha256 sum = codec::sha256(copy);
        std::copy(sum.begin(), sum.end(), copy.begin() + 448);
    }
    std::string refusal() const {
        try {
            read_luks_header(device);
        } catch (const Error& e) {
            EXPECT_EQ(e.code(), Code::kIntegrity);
            return e.what();
        }
        return "";
    }
    MemoryDevice device;
};

TEST(Luks, SaysWhereThePayloadOfAVersion2ContainerLiesAndHowItIsEncrypted) {
    const LuksHeader header = read_luks_header(Luks2Disk(json_text(kPlain)).device);
    EXPECT_EQ(header.version, 2u);
    EXPECT_EQ(header.payload, (Extent{kPayload, kSize}));
    EXPECT_EQ(header.sector_bytes, 4096u);
    EXPECT_EQ(header.cipher, "aes-xts-plain64");
    EXPECT_EQ(header.uuid, "01234567-89ab-cdef-0123-456789abcdef");
}

TEST(Luks, DoesNotBelieveAHeaderWithOneByteChangedInEitherCopy) {
    for (const std::size_t at : {16u, 300u, 4100u, 16384u + 16u, 16384u + 4100u, 16384u + 16000u}) {
        const Luks2Disk disk(json_text(kPlain));
        disk.device.bytes()->content[at] ^= std::byte{1};
        EXPECT_NE(disk.refusal(), "") << "byte " << at;
    }
}

TEST(Luks, DoesNotChooseBetweenTwoCopiesThatDiffer) {
    Luks2Disk disk(json_text(kPlain));
    disk.put_copy(kHeaderBytes, std::string_view("SKUL\xba\xbe", 6), json_text(kPlain), 4);
    EXPECT_THAT(disk.refusal(), HasSubstr("differ"));
}

TEST(Luks, AReencryptionThatWasBegunAndAnythingUnknownAreRefused) {
    const auto refusal = [](const std::string& segment, const std::string& config = "{}") {
        return Luks2Disk(json_text(segment, config)).refusal();
    };
    const auto with = [](std::string what, const std::string& by) {
        std::string text = kPlain;
        return text.replace(text.find(what), what.size(), by);
    };
    ASSERT_EQ(refusal(kPlain), "");
    EXPECT_THAT(refusal(kPlain, R"({"requirements":{"mandatory":["online-reencrypt-v2"]}})"),
                HasSubstr("requirements"));
    EXPECT_THAT(refusal(kPlain, R"({"requirements":7})"), HasSubstr("requirements"));
    EXPECT_THAT(refusal(kPlain, "7"), HasSubstr("config"));
    EXPECT_THAT(refusal(""), HasSubstr("several segments"));
    EXPECT_THAT(refusal(kPlain + R"(,"1":{"type":"crypt"})"), HasSubstr("several segments"));
    EXPECT_THAT(refusal(R"("0":"crypt")"), HasSubstr("several segments"));
    EXPECT_THAT(refusal(with("\"crypt\"", "\"linear\"")), HasSubstr("not encrypted alone"));
    EXPECT_THAT(refusal(with("\"sector_size\"", R"("integrity":{"type":"aead"},"sector_size")")),
                HasSubstr("alone"));
    EXPECT_THAT(refusal(with("4096", "3000")), HasSubstr("sector_size"));
    EXPECT_THAT(refusal(with("\"1048576\"", "\"-1\"")), HasSubstr("not a number"));
    EXPECT_THAT(refusal(with("\"1048576\"", "1048576")), HasSubstr("not a number"));
    EXPECT_THAT(refusal(with("1048576", "18446744073709551104")), HasSubstr("behind its end"));
    EXPECT_THAT(refusal(with("dynamic", "18446744073709547520")), HasSubstr("does not fit"));
    EXPECT_THAT(refusal(with("1048576", "4096")), HasSubstr("behind its header"));
    EXPECT_THAT(refusal(with("aes-xts-plain64", "")), HasSubstr("not text"));
}

TEST(Luks, SaysWhereThePayloadOfAVersion1ContainerLies) {
    MemoryDevice device(kSize);
    Bytes& bytes = device.bytes()->content;
    put(bytes, 0, std::string_view("LUKS\xba\xbe\0\1", 8));
    put(bytes, 8, "aes");
    put(bytes, 40, "xts-plain64");
    put(bytes, 168, "01234567-89ab-cdef-0123-456789abcdef");
    EXPECT_THROW(read_luks_header(device), Error) << "a payload at 0 is one with its header elsewhere";
    bytes[106] = std::byte{8};  // 2048 sectors
    const LuksHeader header = read_luks_header(device);
    EXPECT_EQ(header.payload, (Extent{kPayload, kSize}));
    EXPECT_EQ(header.cipher, "aes-xts-plain64");
    EXPECT_EQ(header.sector_bytes, 512u);
    bytes[104] = std::byte{1};
    EXPECT_THROW(read_luks_header(device), Error) << "a payload behind the end";
}

// A filesystem of which one kilobyte in the middle of an encryption sector is used: swap says so little.
class GivenPlaintext final : public PlaintextFinder {
  public:
    explicit GivenPlaintext(std::shared_ptr<test::DiskBytes> bytes) : bytes_(std::move(bytes)) {}
    Plaintext find(const block::Reader&, const LuksHeader&) override {
        return {std::make_unique<MemoryDevice>(bytes_), "open as given"};
    }

  private:
    std::shared_ptr<test::DiskBytes> bytes_;
};

UsedExtents look_through(const Luks2Disk& disk, PlaintextFinder* finder) {
    Signature signature;
    signature.type = "crypto_LUKS";
    return find_used_extents(disk.device, signature, finder);
}

TEST(Luks, AClosedContainerIsCopiedWholeAndSaysSo) {
    const UsedExtents used = look_through(Luks2Disk(json_text(kPlain)), nullptr);
    EXPECT_TRUE(used.whole);
    EXPECT_EQ(used.reason, "LUKS2, closed");
    EXPECT_EQ(used.used.total_bytes(), kSize);
}

TEST(Luks, AnOpenContainerOfSomethingUnknownOrLargerThanItIsCopiedWhole) {
    const Luks2Disk disk(json_text(kPlain));
    GivenPlaintext unknown(std::make_shared<test::DiskBytes>(kSize - kPayload));
    EXPECT_THAT(look_through(disk, &unknown).reason, HasSubstr("open as given; in it: nothing recognised"));
    GivenPlaintext larger(std::make_shared<test::DiskBytes>(kSize));
    EXPECT_THAT(look_through(disk, &larger).reason, HasSubstr("larger than its payload"));
}

TEST(Luks, OfAnOpenContainerItsHeaderAndWhatIsUsedInItAreCopied) {
    constexpr std::uint64_t kInside = kSize - kPayload - 64 * kKiB;  // the mapping ends before the payload
    const auto inside = std::make_shared<test::DiskBytes>(kInside);
    put(inside->content, 4086, "SWAPSPACE2");
    store_le<std::uint32_t>(inside->content, 1024, 1u);
    store_le<std::uint32_t>(inside->content, 1028, static_cast<std::uint32_t>(kInside / 4096 - 1));
    GivenPlaintext finder(inside);
    const UsedExtents used = look_through(Luks2Disk(json_text(kPlain)), &finder);
    ASSERT_FALSE(used.whole) << used.reason;
    EXPECT_EQ(used.used, (block::ExtentSet{{0, kPayload + 4096}, {kSize - 64 * kKiB, kSize}}));
    EXPECT_THAT(used.note, HasSubstr("LUKS2, open as given: of the swap in it"));
}

TEST(CryptTable, KnowsTheWordsOfTheKernel) {
    const std::string key(128, '0');
    const auto plain = parse_crypt_table("aes-xts-plain64 " + key + " 0 8:2 4096");
    ASSERT_TRUE(plain);
    EXPECT_EQ(*plain, (CryptTable{0x802, 4096 * 512, 512}));
    const auto large = parse_crypt_table(
        "aes-xts-plain64 :64:logon:cryptsetup:0123-d0 0 8:2 32768 2 allow_discards sector_size:4096");
    ASSERT_TRUE(large);
    EXPECT_EQ(*large, (CryptTable{0x802, 32768 * 512, 4096}));
}

TEST(CryptTable, WhatItDoesNotUnderstandIsNothing) {
    for (const char* words :
         {"", "aes-xts-plain64 00 0 8:2", "aes-xts-plain64 00 0 /dev/sda2 4096",
          "aes-xts-plain64 00 0 8:2 -1", "aes-xts-plain64 00 0 8:2 18446744073709551615",
          "aes-xts-plain64 00 0 8:2 1 1 sector_size:3x", "aes-xts-plain64 00 0 8:2 4096 1 integrity:28:aead"})
        EXPECT_FALSE(parse_crypt_table(words)) << words;
}

}  // namespace
}  // namespace dupengine::layout
