// An image gives back, byte for byte, what was put into it, or nothing.

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <random>

#include "base/fd.h"
#include "image/image_writer.h"
#include "image/open_image.h"
#include "tests/support/scratch.h"

namespace dupengine::image {
namespace {

using block::Extent;
using block::ExtentSet;
using ::testing::HasSubstr;

constexpr std::uint64_t kDiskBytes = 10 * kMiB + 4096;  // the last chunk is not whole

Bytes random_bytes(std::size_t size, std::uint64_t seed) {
    std::mt19937_64 random(seed);
    Bytes bytes(size);
    for (std::size_t i = 0; i + 8 <= size; i += 8)
        store_le<std::uint64_t>(bytes, i, random());
    return bytes;
}

// Half of it data, of which some compresses and some comes twice; the rest zeros.
Bytes make_disk(std::uint64_t seed) {
    Bytes disk(kDiskBytes);
    const Bytes noise = random_bytes(2 * kMiB, seed);
    std::ranges::copy(noise, disk.begin() + kMiB);
    std::ranges::copy(noise, disk.begin() + 5 * kMiB);
    std::fill_n(disk.begin() + 8 * kMiB, kMiB, std::byte{'x'});
    std::ranges::copy(std::span(noise).first(4096), disk.end() - 4096);
    return disk;
}

class Images : public ::testing::Test {
  protected:
    Images() { Store::create(path_); }

    // Captures whole chunks; the data of a disk are all of its bytes.
    Manifest capture(const Bytes& disk, const ImageWriter::Sign& sign = {}, const std::string& name = "web") {
        Store store(path_, StoreLock::For::kWriting);
        Manifest draft;
        draft.name = name;
        draft.created = 1;
        draft.source = "a test";
        draft.size_bytes = disk.size();
        draft.table = "none";
        ImageWriter writer(store, draft, ExtentSet{{0, disk.size()}});
        Bytes chunk(kChunkBytes);
        for (std::size_t at = 0; at < disk.size(); at += kChunkBytes) {
            const std::size_t size = std::min<std::size_t>(kChunkBytes, disk.size() - at);
            std::ranges::fill(chunk, std::byte{0});
            std::copy_n(disk.begin() + static_cast<std::ptrdiff_t>(at), size, chunk.begin());
            writer.put(at / kChunkBytes, chunk);
        }
        writer.finish(sign);
        stored_bytes_ = writer.stored_bytes();
        return writer.manifest();
    }

    OpenImage open(const std::string& what = "") const {
        return open_image(*parse_reference("image:" + path_ + what), {});
    }

    static Bytes read_all(const OpenImage& image) {
        Bytes bytes(image.reader->geometry().size_bytes);
        image.reader->read(0, bytes);
        return bytes;
    }

    std::vector<std::string> packs() const {
        std::vector<std::string> files;
        for (const auto& entry : std::filesystem::directory_iterator(path_ + "/packs"))
            files.push_back(entry.path());
        return files;
    }

    test::ScratchFolder scratch_;
    std::string path_ = scratch_.file("store");
    std::uint64_t stored_bytes_ = 0;
};

void flip_bit(const std::string& path, std::uint64_t byte, unsigned bit) {
    const Fd fd = open_path(path, O_RDWR, Code::kInternal);
    Bytes one(1);
    pread_exact(fd.get(), byte, one, Code::kInternal, path);
    one[0] ^= std::byte(1u << bit);
    pwrite_exact(fd.get(), byte, one, Code::kInternal, path);
}

TEST_F(Images, GiveBackWhatWasPutIn) {
    const Bytes disk = make_disk(1);
    capture(disk);
    EXPECT_EQ(read_all(open()), disk);
}

TEST_F(Images, AreReadAtAnyPlaceAndInAnyLength) {
    const Bytes disk = make_disk(2);
    capture(disk);
    const OpenImage image = open();
    std::mt19937_64 random(3);
    for (int i = 0; i < 300; ++i) {
        const ByteOffset begin = random() % disk.size();
        Bytes part(random() % std::min<std::uint64_t>(300000, disk.size() - begin + 1));
        image.reader->read(begin, part);
        ASSERT_TRUE(std::ranges::equal(part, std::span(disk).subspan(begin, part.size())))
            << begin << " " << part.size();
    }
}

TEST_F(Images, TellWhereTheyHoldNothing) {
    const Bytes disk = make_disk(4);
    capture(disk);
    const OpenImage image = open();
    ExtentSet data;
    for (Extent rest{0, disk.size()};;) {
        const Extent found = image.reader->next_data(rest);
        if (found.empty()) break;
        data.insert(found);
        rest.begin = found.end;
    }
    EXPECT_EQ(
        data,
        (ExtentSet{{kMiB, 3 * kMiB}, {5 * kMiB, 7 * kMiB}, {8 * kMiB, 9 * kMiB}, {10 * kMiB, disk.size()}}));
}

TEST_F(Images, StoreWhatComesTwiceOnce) {
    capture(make_disk(5));
    EXPECT_LT(stored_bytes_, 2 * kMiB + 128 * kKiB);
}

TEST_F(Images, OfTheNextVersionStoreWhatChanged) {
    Bytes disk = make_disk(6);
    capture(disk);
    disk[kMiB + 70000] ^= std::byte{1};
    const Manifest second = capture(disk);
    EXPECT_EQ(second.version, 2u);
    EXPECT_LT(stored_bytes_, 2 * kChunkBytes);
    EXPECT_EQ(read_all(open("#web@2")), disk);
    disk[kMiB + 70000] ^= std::byte{1};
    EXPECT_EQ(read_all(open("#web@1")), disk);
}

TEST_F(Images, OfAnotherNameShareChunks) {
    capture(make_disk(7));
    capture(make_disk(7), {}, "db");
    EXPECT_EQ(stored_bytes_, 0u);
    EXPECT_EQ(read_all(open("#db")), make_disk(7));
}

TEST_F(Images, KnowWhatTheyHoldWithoutReadingIt) {
    const Bytes disk = make_disk(8);
    capture(disk);
    const OpenImage image = open();
    for (const std::string& pack : packs())
        std::filesystem::remove(pack);
    Bytes chunk(disk.begin() + kMiB, disk.begin() + kMiB + kChunkBytes);
    EXPECT_TRUE(image.reader->holds(kMiB, chunk));
    chunk[5] ^= std::byte{1};
    EXPECT_FALSE(image.reader->holds(kMiB, chunk));
    EXPECT_TRUE(image.reader->holds(0, Bytes(kChunkBytes)));
    EXPECT_FALSE(image.reader->holds(kMiB, Bytes(kChunkBytes)));
}

TEST_F(Images, GiveNothingOfAChunkWithAWrongBit) {
    const Bytes disk = make_disk(9);
    capture(disk);
    ASSERT_EQ(packs().size(), 1u);
    const auto size = std::filesystem::file_size(packs()[0]);
    std::mt19937_64 random(10);
    for (int i = 0; i < 20; ++i) {
        const std::uint64_t byte = random() % size;
        const auto bit = static_cast<unsigned>(random() % 8);
        flip_bit(packs()[0], byte, bit);
        // Whatever is handed out is right; where it is not, there is an error that says so.
        const OpenImage image = open();
        for (std::uint64_t at = 0; at + kChunkBytes <= disk.size(); at += kChunkBytes) {
            Bytes chunk(kChunkBytes);
            try {
                image.reader->read(at, chunk);
            } catch (const Error& e) {
                EXPECT_EQ(e.code(), Code::kIntegrity);
                continue;
            }
            ASSERT_TRUE(std::ranges::equal(chunk, std::span(disk).subspan(at, kChunkBytes)));
        }
        flip_bit(packs()[0], byte, bit);
    }
}

TEST_F(Images, FindEveryBitOfListsAndPlacesThatMatters) {
    const Bytes disk = make_disk(11);
    capture(disk);
    for (const char* file : {"/images/web/1.lists", "/images/web/1.places"}) {
        const auto size = std::filesystem::file_size(path_ + file);
        const std::uint64_t step = std::max<std::uint64_t>(1, size / 40);
        for (std::uint64_t byte = 0; byte < size; byte += step) {
            flip_bit(path_ + file, byte, byte % 8);
            try {
                ASSERT_EQ(read_all(open()), disk) << file << " " << byte;
            } catch (const Error& e) {
                EXPECT_EQ(e.code(), Code::kIntegrity) << e.what();
            }
            flip_bit(path_ + file, byte, byte % 8);
        }
    }
}

TEST_F(Images, ThatWereNotFinishedAreNotThere) {
    const Bytes disk = make_disk(12);
    capture(disk);
    {
        Store store(path_, StoreLock::For::kWriting);
        Manifest draft = open().manifest();
        ImageWriter writer(store, draft, ExtentSet{{0, kDiskBytes}});
        writer.put(0, random_bytes(kChunkBytes, 13));
    }
    EXPECT_EQ(open().manifest().version, 1u);
    EXPECT_EQ(read_all(open()), disk);
    EXPECT_EQ(capture(disk).version, 2u);
}

TEST_F(Images, AreWrittenByOneAtATimeAndReadByMany) {
    const Store first(path_, StoreLock::For::kWriting);
    EXPECT_THROW(Store(path_, StoreLock::For::kWriting), Error);
    EXPECT_THROW(Store(path_, StoreLock::For::kTakingOut), Error);
    const StoreLock reading(path_, StoreLock::For::kReading), another(path_, StoreLock::For::kReading);
}

TEST_F(Images, AreNotTakenOutWhileTheyAreRead) {
    const StoreLock reading(path_, StoreLock::For::kReading);
    EXPECT_THROW(Store(path_, StoreLock::For::kTakingOut), Error);
}

TEST_F(Images, ThatLostAPackAreWholeAgainWhenTheSameIsCaptured) {
    const Bytes disk = make_disk(14);
    capture(disk);
    for (const std::string& pack : packs())
        std::filesystem::remove(pack);
    EXPECT_THROW(read_all(open()), Error);
    capture(disk);
    EXPECT_EQ(read_all(open("#web@2")), disk);
    EXPECT_EQ(read_all(open("#web@1")), disk);
}

TEST_F(Images, AreNotPutWhereSomethingElseIs) {
    const std::string folder = scratch_.file("other");
    std::filesystem::create_directory(folder);
    std::filesystem::create_directory(folder + "/data");
    EXPECT_THROW(Store::create(folder), Error);
    EXPECT_EQ(std::distance(std::filesystem::directory_iterator(folder), {}), 1);
}

class SignedImages : public Images {
  protected:
    SignedImages() {
        make_signing_key(key_);
        trusted_.add_file(key_ + ".pub");
        const SigningKey key(key_);
        capture(make_disk(20), [&](std::span<const std::byte> manifest) { return key.sign(manifest); });
    }
    OpenImage open_trusted(std::int64_t now = 2) const {
        return open_image(*parse_reference("image:" + path_), {&trusted_, now});
    }
    Code code_of_opening() const {
        try {
            open_trusted();
        } catch (const Error& e) {
            return e.code();
        }
        return Code{};
    }

    std::string key_ = scratch_.file("key");
    TrustedKeys trusted_;
};

TEST_F(SignedImages, AreOpenedWithTheKeyThatSignedThem) {
    const OpenImage image = open_trusted();
    EXPECT_EQ(image.signed_by, key_ + ".pub");
    EXPECT_EQ(read_all(image), make_disk(20));
}

TEST_F(SignedImages, AreRefusedForEverySingleBitOfManifestAndSignature) {
    for (const char* file : {"/images/web/1.json", "/images/web/1.sig"}) {
        const auto size = std::filesystem::file_size(path_ + file);
        for (std::uint64_t byte = 0; byte < size; ++byte)
            for (unsigned bit = 0; bit < 8; ++bit) {
                flip_bit(path_ + file, byte, bit);
                ASSERT_EQ(code_of_opening(), Code::kAuthenticity)
                    << file << " byte " << byte << " bit " << bit;
                flip_bit(path_ + file, byte, bit);
            }
    }
}

TEST_F(SignedImages, AreRefusedWithoutTheirSignature) {
    std::filesystem::remove(path_ + "/images/web/1.sig");
    EXPECT_EQ(code_of_opening(), Code::kAuthenticity);
}

TEST_F(SignedImages, AreRefusedWithAForeignKey) {
    const std::string other = scratch_.file("other");
    make_signing_key(other);
    TrustedKeys keys;
    keys.add_file(other + ".pub");
    EXPECT_THROW(open_image(*parse_reference("image:" + path_), {&keys, 2}), Error);
}

TEST_F(SignedImages, AreRefusedInThePlaceOfAnother) {
    const SigningKey key(key_);
    capture(make_disk(21), [&](std::span<const std::byte> manifest) { return key.sign(manifest); });
    for (const char* end : {".json", ".sig", ".lists", ".places"})
        std::filesystem::copy_file(path_ + "/images/web/1" + end, path_ + "/images/web/2" + end,
                                   std::filesystem::copy_options::overwrite_existing);
    EXPECT_EQ(code_of_opening(), Code::kAuthenticity);
}

TEST_F(SignedImages, SecretKeysThatOthersMayReadAreNotUsed) {
    std::filesystem::permissions(key_, std::filesystem::perms::group_read,
                                 std::filesystem::perm_options::add);
    EXPECT_THROW(SigningKey key(key_), Error);
}

TEST_F(SignedImages, KeysAreNotOverwritten) {
    EXPECT_THROW(make_signing_key(key_), Error);
}

TEST(ImageReferences, AreReadAsTheyAreWritten) {
    for (const char* text :
         {"image:/srv/images", "image:/srv/images#web", "image:/srv/im#ages#web-2.x@7", "image:a.tar"})
        EXPECT_EQ(parse_reference(text)->text(), text);
    EXPECT_FALSE(parse_reference("/dev/sda"));
    EXPECT_EQ(parse_reference("image:/a#b@3")->version, 3u);
    for (const char* text : {"image:", "image:#web", "image:/a#", "image:/a#../b", "image:/a#b@0",
                             "image:/a#b@x", "image:/a#b@", "image:/a#.b"})
        EXPECT_THROW(parse_reference(text), Error) << text;
}

TEST(StoreIndexes, SayWhatThereIsInsteadOfGuessing) {
    StoreIndex index;
    index.insert({"web", 2});
    index.insert({"web", 10});
    EXPECT_EQ(index.find(*parse_reference("image:/s")).version, 10u);
    index.insert({"db", 1});
    try {
        index.find(*parse_reference("image:/s"));
        FAIL();
    } catch (const Error& e) {
        EXPECT_EQ(e.code(), Code::kRefused);
        EXPECT_THAT(e.what(), HasSubstr("db, web"));
    }
    EXPECT_EQ(parse_store_index(as_bytes(to_json(index))).images, index.images);
}

TEST(KnownChunksOfAStore, AreFoundAndOthersAreNot) {
    KnownChunks known;
    const auto digest = [](std::uint64_t n) { return codec::sha256(std::as_bytes(std::span(&n, 1))); };
    for (std::uint32_t i = 0; i < 20000; ++i)
        known.insert(digest(i), {i, i + 1});
    EXPECT_EQ(known.count(), 20000u);
    for (std::uint32_t i = 0; i < 20000; ++i) {
        ASSERT_NE(known.find(digest(i)), nullptr);
        EXPECT_EQ(known.find(digest(i))->pack, i);
        EXPECT_EQ(known.find(digest(i + 50000)), nullptr);
    }
}

// Two places of an image, exchanged: both are good places, of the wrong chunks.
void exchange_places(const std::string& file) {
    const Fd fd = open_path(file, O_RDWR, Code::kInternal);
    Bytes places(PlacesHead::kBytes + 40 * kPlaceBytes);
    pread_exact(fd.get(), 0, places, Code::kInternal, file);
    const auto place = [&](std::size_t chunk) {
        return std::span(places).subspan(PlacesHead::kBytes + chunk * kPlaceBytes, kPlaceBytes);
    };
    std::ranges::swap_ranges(place(20), place(30));
    pwrite_exact(fd.get(), 0, places, Code::kInternal, file);
}

TEST_F(Images, DamagedPlacesOfTheVersionBeforeAreNotInherited) {
    const Bytes disk = make_disk(31);
    capture(disk);
    exchange_places(path_ + "/images/web/1.places");
    EXPECT_THROW(read_all(open("#web@1")), Error);
    capture(disk);
    EXPECT_EQ(read_all(open("#web@2")), disk);
    EXPECT_LT(stored_bytes_, kMiB) << "the chunks are there, and only their places were wrong";
}

}  // namespace
}  // namespace dupengine::image
