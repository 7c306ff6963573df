// A disk image on a web server goes onto a disk without an operating system: just what its digests say, or
// nothing that starts.

#include "efi/core/web_disk.h"

#include "bootloader_hooks/piece_digests.h"
#include "tests/support/signing_keys.h"
#include "tests/unit/efi/efi_application.h"

namespace dupengine {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

constexpr const char* kUrl = "http://images/web.img";

// The target, disk 1, has a profile that names the image.
class EfiWebDisk : public test::EfiApplication {
  protected:
    EfiWebDisk() {
        machine_.own = machine_.add_disk(1);
        profile_ = test::kWeb + "[boot]\nchoice = \"menu\"\nduplicate_from = \"" + kUrl + "\"\n";
        machine_.set_profile(0, profile_);
        kept_ = profile_bytes();
        // 7 MiB and a bit: the last piece is a short one.
        const auto disk =
            test::make_gpt_disk(7 * kMiB + 512 * 600,
                                {{1, {kMiB, 2 * kMiB}, "EFI system", layout::type_guid::kEfiSystem},
                                 {3, {5 * kMiB, 6 * kMiB + 4096}, "root"}},
                                9);
        image_ = disk->content;
        publish();
    }
    void publish() {
        auto bytes = std::make_shared<test::DiskBytes>(0);
        bytes->content = image_;
        machine_.web[kUrl] = as_text(image_);
        digests_ = as_text(boot::make_piece_digests(test::MemoryDevice(bytes)));
        machine_.web[std::string(kUrl) + ".digests"] = digests_;
    }
    std::string profile_bytes() {
        return std::string(as_text(machine_.disk_bytes(0).content())).substr(2 * kMiB, 2 * kMiB);
    }
    std::string target(std::uint64_t begin, std::uint64_t bytes) {
        return std::string(as_text(machine_.disk_bytes(0).content())).substr(begin, bytes);
    }
    std::string source(std::uint64_t begin, std::uint64_t bytes) {
        return std::string(as_text(image_)).substr(begin, bytes);
    }
    // Onto the only disk.
    void duplicate() {
        machine_.keys = {'d', 'w', '1', 'y', 'x'};
        run();
    }
    void expect_nothing_written() {
        EXPECT_EQ(machine_.disk_bytes(0).writes, 0u) << machine_.said;
        EXPECT_EQ(profile_bytes(), kept_);
    }

    std::string profile_, kept_, digests_;
    Bytes image_;
};

TEST_F(EfiWebDisk, GoesOntoADiskWhoseProfileStays) {
    duplicate();
    EXPECT_THAT(machine_.said, HasSubstr("Disk 1 is complete and verified")) << machine_.said;
    EXPECT_EQ(target(kMiB, kMiB), source(kMiB, kMiB));
    EXPECT_EQ(target(5 * kMiB, kMiB + 4096), source(5 * kMiB, kMiB + 4096));
    EXPECT_EQ(profile_bytes(), kept_);
    EXPECT_THAT(machine_.said, HasSubstr(std::string(kUrl) + " goes onto disk 1: 2 partitions"));
}

TEST_F(EfiWebDisk, AServerThatComesBackIsWaitedFor) {
    machine_.network_faults = {"no web server answers there", "no web server answers there"};
    machine_.keys = {'d', 'w', '1'};
    for (int i = 0; i < 20; ++i)
        machine_.keys.push_back('\0');
    machine_.keys.insert(machine_.keys.end(), {'y', 'x'});
    run();
    EXPECT_THAT(machine_.said, HasSubstr("Disk 1 is complete and verified")) << machine_.said;
}

TEST_F(EfiWebDisk, AnImageThatIsNotWhatItsDigestsSayIsNoCopy) {
    // In the second partition: what was planned is right, and the disk stays unfinished.
    machine_.web[kUrl][5 * kMiB + 100] ^= 1;
    duplicate();
    EXPECT_THAT(machine_.said, HasSubstr("the image on the server is not what its digests say"))
        << machine_.said;
    EXPECT_THAT(machine_.said, HasSubstr("Disk 1 is unfinished and does not start"));
    EXPECT_EQ(profile_bytes(), kept_);
}

TEST_F(EfiWebDisk, AChangedTableIsFoundBeforeAnythingIsWritten) {
    machine_.web[kUrl][600] ^= 1;
    duplicate();
    EXPECT_THAT(machine_.said, HasSubstr("is not what its digests say"));
    expect_nothing_written();
}

TEST_F(EfiWebDisk, WithoutDigestsNothingIsWritten) {
    machine_.web.erase(std::string(kUrl) + ".digests");
    duplicate();
    EXPECT_THAT(machine_.said, HasSubstr("the web server does not have it"));
    expect_nothing_written();
}

TEST_F(EfiWebDisk, DamagedDigestsAreRefused) {
    for (std::size_t size : {std::size_t{0}, std::size_t{31}, std::size_t{32}, digests_.size() - 1}) {
        machine_.web[std::string(kUrl) + ".digests"] = digests_.substr(0, size);
        duplicate();
        expect_nothing_written();
    }
    for (std::size_t at : {0, 16, 20, 27, 31}) {
        std::string bad = digests_;
        bad[at] = static_cast<char>(bad[at] ^ 0x10);
        efi::PieceDigests into;
        EXPECT_FALSE(efi::read_piece_digests(as_bytes(bad), into).empty()) << at;
    }
}

TEST_F(EfiWebDisk, WhereKeysAreTheDigestsHaveToBeSigned) {
    const test::SigningKeyPair owner;
    const std::array<efi::PublicKey, 1> keys = {owner.public_key()};
    machine_.trusted = {keys, false};
    machine_.set_profile(0, owner.sign_profile(profile_), 2);
    kept_ = profile_bytes();
    duplicate();
    EXPECT_THAT(machine_.said, HasSubstr("the image is not signed")) << machine_.said;
    expect_nothing_written();
    const std::string signature = std::string(kUrl) + ".digests.sig";
    machine_.web[signature] = owner.sign_file("other digests");
    machine_.said.clear();
    duplicate();
    EXPECT_THAT(machine_.said, HasSubstr("the image is not as it was signed"));
    expect_nothing_written();
    machine_.web[signature] = owner.sign_file(digests_);
    duplicate();
    EXPECT_THAT(machine_.said, HasSubstr("Disk 1 is complete and verified")) << machine_.said;
    EXPECT_EQ(profile_bytes(), kept_);
}

TEST_F(EfiWebDisk, ReadsNothingPastItsEnd) {
    efi::PieceDigests digests;
    ASSERT_TRUE(efi::read_piece_digests(as_bytes(digests_), digests).empty());
    efi::WebAddress address;
    ASSERT_TRUE(efi::read_web_address(kUrl, address).empty());
    std::vector<std::byte> piece(kMiB), buffer(4096);
    efi::WebDisk disk(machine_, kUrl, address, digests, piece);
    EXPECT_EQ(disk.size_bytes(), image_.size());
    EXPECT_TRUE(disk.read(image_.size() - 512, std::span(buffer).first(512)));
    EXPECT_EQ(as_text(std::span(buffer).first(512)), source(image_.size() - 512, 512));
    EXPECT_FALSE(disk.read(image_.size() - 512, std::span(buffer).first(1024)));
    EXPECT_FALSE(disk.read(~std::uint64_t{0} - 511, std::span(buffer).first(512)));
    // Over a border of pieces, and what is there already is not asked for again.
    EXPECT_TRUE(disk.read(kMiB - 512, std::span(buffer).first(1024)));
    EXPECT_EQ(as_text(std::span(buffer).first(1024)), source(kMiB - 512, 1024));
    const std::size_t before = machine_.parts;
    EXPECT_TRUE(disk.read(kMiB + 4096, std::span(buffer).first(512)));
    EXPECT_EQ(machine_.parts, before);
}

}  // namespace
}  // namespace dupengine
