#include "machine/image_letter.h"

#include <gtest/gtest.h>

#include "base/copy_bytes.h"

namespace dupengine::machine {
namespace {

using codec::kPageBytes;

const codec::PageTagger::Key kKey{std::byte{1}}, kOtherKey{std::byte{2}};

// What is restored has the room's pages in any order, among others.
std::vector<Bytes> image_with(const LetterRoom& room) {
    std::vector<Bytes> image = {Bytes(kPageBytes, std::byte{9})};
    for (std::size_t at = room.pages().size(); at > 0; at -= kPageBytes) {
        const auto page = room.pages().subspan(at - kPageBytes, kPageBytes);
        image.emplace_back(page.begin(), page.end());
    }
    return image;
}

// Its memory is the image from here on.
void become(const LetterRoom& room, const std::vector<Bytes>& image) {
    const auto pages = std::span(const_cast<std::byte*>(room.pages().data()), room.pages().size());
    for (std::size_t i = 1; i < image.size(); ++i)
        copy_bytes(image[i], pages.last(i * kPageBytes));
}

TEST(ImageLetter, ArrivesInTheMemoryThatWasBecome) {
    const LetterRoom room(kKey);
    const Bytes text(300'000, std::byte{5});
    Letter letter(kKey, text);
    auto image = image_with(room);
    for (Bytes& page : image)
        letter.put_into(page);
    letter.check();
    EXPECT_EQ(image.front(), Bytes(kPageBytes, std::byte{9})) << "a page that is none of the room's";
    become(room, image);
    EXPECT_EQ(room.read(), text);
}

TEST(ImageLetter, ThatNobodyWroteIsNotTakenForOne) {
    EXPECT_THROW(LetterRoom(kKey).read(), Error);
}

TEST(ImageLetter, OfAnotherDuplicationIsNotPutInto) {
    const LetterRoom room(kOtherKey);
    auto image = image_with(room);
    Letter letter(kKey, Bytes(10));
    for (Bytes& page : image)
        letter.put_into(page);
    EXPECT_EQ(image, image_with(room));
    EXPECT_THROW(letter.check(), Error) << "it would become a machine that finds no disk";
}

TEST(ImageLetter, WithoutOneOfItsPagesIsSeenBeforeTheMachineIsBecome) {
    const LetterRoom room(kKey);
    auto image = image_with(room);
    image.pop_back();
    Letter letter(kKey, Bytes(10));
    for (Bytes& page : image)
        letter.put_into(page);
    EXPECT_THROW(letter.check(), Error);
}

TEST(ImageLetter, ThatIsTooLongIsRefused) {
    EXPECT_THROW(Letter(kKey, Bytes(kMiB)), Error);
}

}  // namespace
}  // namespace dupengine::machine
