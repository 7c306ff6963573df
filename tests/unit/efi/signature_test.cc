// Signatures that the command makes are those that firmware takes; who changes a file or a profile, or signs
// with a key of his own, changes what a machine starts only where no keys are.

#include "efi/core/signature.h"

#include <gmock/gmock.h>

#include "tests/support/signing_keys.h"
#include "tests/unit/efi/fake_firmware.h"

namespace dupengine {
namespace {

using efi::Vouched;

const std::string kText = "schema = 1\nkind = \"node\"\nnode = \"web-1\"\n";

class EfiSignature : public ::testing::Test {
  protected:
    Vouched file(const std::string& content, const std::string& signature) const {
        return efi::check_file(trust_, as_bytes(content), {signature.data(), signature.size()});
    }
    Vouched profile(const std::string& text) const {
        return efi::check_profile(trust_, {text.data(), text.size()});
    }

    const test::SigningKeyPair first_, second_, stranger_;
    const std::array<efi::PublicKey, 2> keys_ = {first_.public_key(), second_.public_key()};
    const efi::Trust trust_{keys_, false};
};

TEST_F(EfiSignature, OfAFileIsTakenFromEachOfTheKeysAndNoOther) {
    EXPECT_EQ(file("kernel", first_.sign_file("kernel")), Vouched::kYes);
    EXPECT_EQ(file("kernel", second_.sign_file("kernel")), Vouched::kYes);
    EXPECT_EQ(file("kernel", stranger_.sign_file("kernel")), Vouched::kStranger);
    EXPECT_EQ(file("Kernel", first_.sign_file("kernel")), Vouched::kChanged);
    EXPECT_EQ(file("kernel", ""), Vouched::kMissing);
    EXPECT_EQ(file("", first_.sign_file("")), Vouched::kYes);
}

TEST_F(EfiSignature, OfAProfileIsTakenWithTheTextThatItIsOf) {
    EXPECT_EQ(profile(first_.sign_profile(kText)), Vouched::kYes);
    EXPECT_EQ(profile(first_.sign_profile("schema = 1")), Vouched::kYes) << "no line feed at its end";
    EXPECT_EQ(profile(stranger_.sign_profile(kText)), Vouched::kStranger);
    EXPECT_EQ(profile(kText), Vouched::kMissing);
    EXPECT_EQ(profile(""), Vouched::kMissing);
    EXPECT_EQ(profile(first_.sign_profile(kText) + "\n"), Vouched::kMissing);
    EXPECT_EQ(profile(first_.sign_profile(kText) + "[boot]\nchoice = \"menu\"\n"), Vouched::kMissing);
}

TEST_F(EfiSignature, IsReplacedByTheNextOne) {
    const std::string twice = second_.sign_profile(stranger_.sign_profile(kText));
    EXPECT_EQ(profile(twice), Vouched::kYes);
    EXPECT_EQ(twice.size(), first_.sign_profile(kText).size());
    EXPECT_EQ(profiles::without_signature(twice), kText);
}

// Any bit of a signed profile changed: it is not taken.
TEST_F(EfiSignature, CoversEveryByteOfAProfileAndItself) {
    const std::string good = first_.sign_profile(kText);
    for (std::size_t i = 0; i < good.size(); ++i) {
        std::string changed = good;
        changed[i] = static_cast<char>(changed[i] ^ 1 << i % 8);
        EXPECT_NE(profile(changed), Vouched::kYes) << "byte " << i;
    }
}

TEST_F(EfiSignature, ThatIsCutOrPaddedIsDamaged) {
    const std::string good = first_.sign_file("kernel");
    for (std::size_t size = 1; size < good.size(); ++size)
        EXPECT_EQ(file("kernel", good.substr(0, size)), Vouched::kDamaged) << size;
    EXPECT_EQ(file("kernel", good + "\n"), Vouched::kDamaged);
    EXPECT_EQ(file("kernel", " " + good), Vouched::kDamaged);
}

// The same bytes, signed as something else.
TEST_F(EfiSignature, OfOneKindOfThingIsNoneOfAnother) {
    const image::SigningKey key(first_.path());
    const std::string body = kText;
    const codec::Sha256 digest = codec::sha256(as_bytes(body));
    EXPECT_EQ(file(body, key.sign(digest, image::signature_words::kOfProfile)), Vouched::kChanged);
    EXPECT_EQ(file(body, key.sign(digest)), Vouched::kChanged) << "as the manifest of an image";
    EXPECT_EQ(file(body, key.sign(digest, image::signature_words::kOfBootFile)), Vouched::kYes);
}

TEST_F(EfiSignature, FaultsAreToldOfEachThing) {
    EXPECT_EQ(test::string_of(efi::fault_text(efi::SignedThing::kInitrd, Vouched::kMissing)),
              "its initrd is not signed");
    EXPECT_EQ(test::string_of(efi::fault_text(efi::SignedThing::kProfile, Vouched::kChanged)),
              "its profile is not as it was signed");
    EXPECT_EQ(test::string_of(efi::fault_text(efi::SignedThing::kKernel, Vouched::kYes)), "");
}

}  // namespace
}  // namespace dupengine
