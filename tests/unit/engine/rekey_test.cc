// A LUKS container seen with a new header and under a new volume key. cryptsetup makes the old one; its
// plaintext is given as an open mapping would give it.

#include "engine/refit/rekey.h"

#include <gmock/gmock.h>

#include <nlohmann/json.hpp>

#include "base/fd.h"
#include "layout/describe.h"
#include "layout/luks_key.h"
#include "tests/support/gpt_disk.h"
#include "tests/support/scratch.h"

namespace dupengine::engine {
namespace {

using block::Extent;
using layout::LuksHeader;
using layout::Plaintext;
using test::MemoryDevice;
using test::must_run;
using ::testing::HasSubstr;

constexpr std::uint64_t kDisk = 16 * kMiB, kHeader = 4 * kMiB, kPayload = 2 * kMiB;
constexpr Extent kPart{2 * kMiB, 2 * kMiB + kHeader + kPayload};
constexpr Extent kOther{10 * kMiB, 12 * kMiB};

Secret secret_of(std::string_view text) {
    Secret secret(text.size());
    std::ranges::copy(as_bytes(text), secret.all().begin());
    return secret;
}

// What an open mapping gives; or says of another part.
class GivenPlaintext final : public layout::PlaintextFinder {
  public:
    explicit GivenPlaintext(std::uint64_t size = kPayload) : bytes(std::make_shared<test::DiskBytes>(size)) {
        test::fill_pattern(bytes->content, 11);
    }
    Plaintext find(const block::Reader& /*part*/, const LuksHeader& /*header*/) override {
        if (closed) return {nullptr, "closed"};
        return {std::make_unique<MemoryDevice>(bytes), "open as given"};
    }
    std::string open_without_header(const block::Reader& part) override {
        return part.geometry().size_bytes == kOther.size() ? header_elsewhere : "";
    }
    std::shared_ptr<test::DiskBytes> bytes;
    bool closed = false;
    std::string header_elsewhere;
};

class Nothing final : public layout::PlaintextFinder {
  public:
    Plaintext find(const block::Reader& /*part*/, const LuksHeader& /*header*/) override {
        return {nullptr, "closed"};
    }
};

// A disk with a container on partition 2 and a patterned partition 5.
std::shared_ptr<test::DiskBytes> disk_with_container(const test::ScratchFolder& folder,
                                                     std::vector<std::string> format) {
    const std::string key = folder.file("key"), made = folder.sparse_file("container", kPart.size());
    write_file_atomic(key, as_bytes("old key"), 0600, Code::kInternal);
    std::vector<std::string> argv = {"cryptsetup", "luksFormat", "--batch-mode", "--disable-locks"};
    argv.insert(argv.end(), format.begin(), format.end());
    argv.insert(argv.end(), {made, key});
    must_run(argv);
    auto disk = test::make_gpt_disk(kDisk, {{2, kPart, "crypt"}, {5, kOther, "other"}}, 1);
    std::ranges::copy(test::load_file(made)->content,
                      disk->content.begin() + static_cast<std::ptrdiff_t>(kPart.begin));
    return disk;
}

const std::vector<std::string> kQuickLuks1 = {"--type", "luks1",           "--pbkdf-force-iterations",
                                              "1000",   "--align-payload", "8192"};

// Making a key slot takes seconds, so it is made once for the tests that look at it.
class Rekey : public ::testing::Test {
  protected:
    static void SetUpTestSuite() {
        folder = std::make_unique<test::ScratchFolder>();
        source = std::make_unique<MemoryDevice>(disk_with_container(*folder, {"--type",
                                                                              "luks2",
                                                                              "--pbkdf",
                                                                              "argon2id",
                                                                              "--pbkdf-memory",
                                                                              "32768",
                                                                              "--pbkdf-parallel",
                                                                              "1",
                                                                              "--pbkdf-force-iterations",
                                                                              "4",
                                                                              "--label",
                                                                              "safe",
                                                                              "--subsystem",
                                                                              "old house",
                                                                              "--sector-size",
                                                                              "4096",
                                                                              "--luks2-metadata-size",
                                                                              "32k",
                                                                              "--offset",
                                                                              "8192"}));
        made = std::make_unique<RekeyedContainers>();
        plaintext = std::make_unique<GivenPlaintext>();
        rekeyed =
            std::make_unique<Rekeyed>(rekey_source(*source, {*plaintext, new_key, random, nullptr, *made}));
    }
    static void TearDownTestSuite() {
        rekeyed.reset();
        made.reset();
        plaintext.reset();
        source.reset();
        folder.reset();
    }
    static block::Window part_of(const block::Reader& disk) { return {disk, kPart, "container"}; }

    inline static std::unique_ptr<test::ScratchFolder> folder;
    inline static std::unique_ptr<MemoryDevice> source;
    inline static std::unique_ptr<RekeyedContainers> made;
    inline static std::unique_ptr<GivenPlaintext> plaintext;
    inline static std::unique_ptr<Rekeyed> rekeyed;
    inline static const Secret new_key = secret_of("new key");
    inline static SystemRandom random;
};

TEST_F(Rekey, TheNewKeyOpensTheViewWithTheSamePlaintextAndTheOldOneDoesNot) {
    const block::Window view = part_of(*rekeyed->view);
    const LuksHeader header = layout::read_luks_header(view);
    Nothing nobody;
    std::vector<Secret> right, wrong;
    right.push_back(secret_of("new key"));
    wrong.push_back(secret_of("old key"));
    const Plaintext opened = layout::LuksKeys(std::move(right), nobody).find(view, header);
    ASSERT_NE(opened.reader, nullptr);
    EXPECT_EQ(block::read_extent(*opened.reader, {0, kPayload}), plaintext->bytes->content);
    EXPECT_THROW(layout::LuksKeys(std::move(wrong), nobody).find(view, header), Error);
}

TEST_F(Rekey, TheViewHasTheIdentityAndTheLayoutOfTheSource) {
    const LuksHeader before = layout::read_luks_header(part_of(*source)),
                     after = layout::read_luks_header(part_of(*rekeyed->view));
    EXPECT_EQ(after.version, 2u);
    EXPECT_EQ(after.uuid, before.uuid);
    EXPECT_EQ(after.payload, before.payload);
    EXPECT_EQ(after.cipher, before.cipher);
    EXPECT_EQ(after.sector_bytes, 4096u);
    EXPECT_EQ(before.payload.begin, kHeader);
    const std::string header = folder->file("header");
    write_file_atomic(header, block::read_extent(*rekeyed->view, kPart), 0600, Code::kInternal);
    const auto dump = nlohmann::json::parse(
        must_run({"cryptsetup", "luksDump", "--disable-locks", "--dump-json-metadata", header}));
    ASSERT_EQ(dump["keyslots"].size(), 1u);
    const auto& slot = dump["keyslots"]["0"];
    EXPECT_EQ(slot["kdf"]["type"], "argon2id");
    EXPECT_LE(slot["kdf"]["memory"].get<unsigned>(), 32768u)
        << "more memory than the machine it was made for";
    EXPECT_EQ(dump["config"]["json_size"], "28672");
    const std::string words = must_run({"cryptsetup", "luksDump", "--disable-locks", header});
    EXPECT_THAT(words, testing::ContainsRegex("Label: *\tsafe"));
    EXPECT_THAT(words, testing::ContainsRegex("Subsystem: *\told house"));
}

TEST_F(Rekey, WhatIsNotTheContainerIsTheSameAndTheContainerIsNot) {
    const Bytes& before = source->bytes()->content;
    const Bytes after = block::read_extent(*rekeyed->view, {0, kDisk});
    const auto same = [&](Extent range) {
        return std::equal(before.begin() + static_cast<std::ptrdiff_t>(range.begin),
                          before.begin() + static_cast<std::ptrdiff_t>(range.end),
                          after.begin() + static_cast<std::ptrdiff_t>(range.begin));
    };
    EXPECT_TRUE(same({0, kPart.begin}));
    EXPECT_TRUE(same({kPart.end, kDisk}));
    for (ByteOffset at = kPart.begin + kHeader; at < kPart.end; at += 512)
        ASSERT_FALSE(same({at, at + 512})) << at;
}

TEST_F(Rekey, APlanLooksIntoTheViewAndSaysSo) {
    const auto disk = layout::describe_disk(*rekeyed->view, layout::Depth::kUsedExtents, made.get());
    EXPECT_THAT(disk.by_number(2)->used.reason,
                HasSubstr("LUKS2, with a new key; in it: nothing recognised"));
    EXPECT_THAT(rekeyed->notes.front(), HasSubstr("partition 2: its LUKS2 container gets a new volume key"));
}

TEST_F(Rekey, ACopyIsComparedUnderItsOwnHeaderAndKey) {
    RekeyedContainers seen;
    const Rekeyed again = rekey_source(*source, {*plaintext, new_key, random, rekeyed->view.get(), seen});
    EXPECT_EQ(block::read_extent(*again.view, {0, kDisk}), block::read_extent(*rekeyed->view, {0, kDisk}));
}

TEST_F(Rekey, ACopyThatTheNewKeyDoesNotOpenOrWithAnotherContainerIsNotCompared) {
    RekeyedContainers seen;
    const Secret other = secret_of("another key");
    EXPECT_THROW(rekey_source(*source, {*plaintext, other, random, rekeyed->view.get(), seen}), Error);
    const MemoryDevice without(test::make_gpt_disk(kDisk, {{5, kOther, "other"}}, 1));
    EXPECT_THROW(rekey_source(*source, {*plaintext, new_key, random, &without, seen}), Error);
}

TEST_F(Rekey, AContainerThatIsNoneOfTheViewsOwnIsRefused) {
    // As one in a logical volume: nothing gave it a new key.
    EXPECT_THROW(layout::describe_disk(*source, layout::Depth::kUsedExtents, made.get()), Error);
    EXPECT_THROW(made->pass_by("partition 3", "a member of a RAID"), Error);
    layout::Signature raid;
    raid.type = "linux_raid_member";
    EXPECT_THROW(layout::find_used_extents(*source, raid, made.get()), Error);
}

TEST(RekeyRefuses, ADiskWithoutContainersIsLeftAlone) {
    const MemoryDevice disk(test::make_gpt_disk(kDisk, {{5, kOther, "other"}}, 1));
    GivenPlaintext plaintext;
    RekeyedContainers made;
    SystemRandom random;
    const Secret key = secret_of("new key");
    EXPECT_EQ(rekey_source(disk, {plaintext, key, random, nullptr, made}).view, nullptr);
    EXPECT_EQ(made.count(), 0u);
}

std::string refusal(const std::shared_ptr<test::DiskBytes>& disk, GivenPlaintext& plaintext) {
    const MemoryDevice source(disk);
    RekeyedContainers made;
    SystemRandom random;
    const Secret key = secret_of("new key");
    try {
        rekey_source(source, {plaintext, key, random, nullptr, made});
    } catch (const Error& e) {
        EXPECT_EQ(e.code(), Code::kRefused);
        return e.what();
    }
    return "";
}

TEST(RekeyRefuses, WhatItCannotReadOrMakeAnew) {
    const test::ScratchFolder folder;
    const auto disk = disk_with_container(folder, kQuickLuks1);
    GivenPlaintext closed, smaller(kPayload - 4096), elsewhere, good;
    closed.closed = true;
    elsewhere.header_elsewhere = "crypt-home";
    EXPECT_THAT(refusal(disk, closed), HasSubstr("partition 2: this LUKS1 container (closed)"));
    EXPECT_THAT(refusal(disk, closed), HasSubstr("--luks-key-file"));
    EXPECT_THAT(refusal(disk, smaller), HasSubstr("its payload has 2097152"));
    const auto without = test::make_gpt_disk(kDisk, {{5, kOther, "other"}}, 1);
    EXPECT_THAT(refusal(without, elsewhere), HasSubstr("open as crypt-home"));
    disk->content[kPart.begin + 7] = std::byte{3};
    EXPECT_THAT(refusal(disk, good), HasSubstr("an unknown version of its format"));
}

TEST(RekeyRefuses, AnotherCipher) {
    const test::ScratchFolder folder;
    std::vector<std::string> format = kQuickLuks1;
    format.insert(format.end(), {"--cipher", "aes-cbc-essiv:sha256", "--key-size", "256"});
    GivenPlaintext plaintext;
    EXPECT_THAT(refusal(disk_with_container(folder, format), plaintext), HasSubstr("aes-cbc-essiv:sha256"));
}

}  // namespace
}  // namespace dupengine::engine
