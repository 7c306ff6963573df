// What is remembered of what was given away: whatever the other end may not have has to differ.

#include "machine/sent_tags.h"

#include <gtest/gtest.h>

#include "base/bytes.h"
#include "base/error.h"
#include "base/units.h"

namespace dupengine {
namespace {

using block::ExtentSet;
using machine::SentTags;

constexpr std::uint64_t kSize = 200 * kMiB + 512 * 3;
constexpr std::uint64_t kPiece = SentTags::kPiece;

class Tags : public testing::Test {
  protected:
    static Bytes pieces(std::size_t count, int value) { return Bytes(count * kPiece, std::byte(value)); }
    ExtentSet different(ByteOffset offset, const Bytes& bytes, const ExtentSet& used = {}) {
        return tags_.take_different(offset, bytes, digest_, used);
    }
    codec::KeyedDigest digest_{{}};
    SentTags tags_{kSize, kMiB};
};

TEST_F(Tags, OnlyWhatDiffersIsNamedAndThenForgotten) {
    tags_.note(kMiB, pieces(3, 1), digest_);
    Bytes now = pieces(3, 1);
    now[kPiece] = std::byte{2};
    EXPECT_EQ(different(kMiB, now), (ExtentSet{{kMiB + kPiece, kMiB + 2 * kPiece}}));
    EXPECT_EQ(different(kMiB, now), ExtentSet{}) << "it is noted when it is given away again";
    EXPECT_EQ(tags_.noted(), (ExtentSet{{kMiB, kMiB + kPiece}, {kMiB + 2 * kPiece, kMiB + 3 * kPiece}}));
}

TEST_F(Tags, WhatWasGivenAwayInTwoWaysDiffersFromBoth) {
    tags_.note(0, pieces(1, 1), digest_);
    tags_.note(0, pieces(1, 2), digest_);
    tags_.note(0, pieces(1, 1), digest_);
    EXPECT_EQ(different(0, pieces(1, 1)), (ExtentSet{{0, kPiece}}));
}

TEST_F(Tags, WhatIsUsedAndWasNeverGivenAwayOrIsForgottenIsNamed) {
    EXPECT_EQ(different(0, pieces(2, 1), {{kPiece + 512, kPiece + 1024}}), (ExtentSet{{kPiece, 2 * kPiece}}));
    tags_.note(0, pieces(2, 1), digest_);
    tags_.forget({{512, 1024}});
    EXPECT_EQ(different(0, pieces(2, 1), {{0, 2 * kPiece}}), (ExtentSet{{0, kPiece}}));
}

TEST_F(Tags, TheEndOfADiskIsAPieceHoweverShort) {
    const ByteOffset last = kSize / kPiece * kPiece;
    Bytes end(kSize - last, std::byte{1});
    tags_.note(last, end, digest_);
    EXPECT_EQ(different(last, end), ExtentSet{});
    end.back() = std::byte{2};
    EXPECT_EQ(different(last, end), (ExtentSet{{last, kSize}}));
}

TEST_F(Tags, BesideATableItIsToldInSmallerPieces) {
    tags_.divide_finely({{0, 34 * 512}});
    tags_.note(0, pieces(2, 1), digest_);
    Bytes now = pieces(2, 1);
    now[20 * kKiB] = now[kPiece] = std::byte{2};
    EXPECT_EQ(different(0, now), (ExtentSet{{20 * kKiB, 24 * kKiB}, {kPiece, 2 * kPiece}}));
    EXPECT_EQ(different(0, now), ExtentSet{});
}

TEST_F(Tags, MoreThanMayBeTakenIsRefused) {
    SentTags few(kSize, 16 * kKiB);
    few.note(0, pieces(1, 1), digest_);
    few.note(kMiB, pieces(1, 1), digest_);
    EXPECT_THROW(few.note(128 * kMiB, pieces(1, 1), digest_), Error);
    EXPECT_EQ(SentTags::memory_for(1024 * 1024 * kMiB), 256 * kMiB);
}

}  // namespace
}  // namespace dupengine
