// Images in one tar: read at any place, and as they come through a pipe.

#include <fcntl.h>
#include <gmock/gmock.h>

#include <algorithm>
#include <filesystem>
#include <random>

#include "image/open_image.h"
#include "image/tar_files.h"
#include "tests/support/scratch.h"
#include "tests/support/tar_image.h"

namespace dupengine::image {
namespace {

using block::Extent;
using block::ExtentSet;
using ::testing::HasSubstr;

Bytes random_bytes(std::size_t size, std::uint64_t seed) {
    std::mt19937_64 random(seed);
    Bytes bytes(size);
    for (std::size_t at = 0; at < size; at += 8) {
        const std::uint64_t number = random();
        std::memcpy(bytes.data() + at, &number, std::min<std::size_t>(8, size - at));
    }
    return bytes;
}

// Several packs of noise; 2 MiB come twice, zeros between, an end that fills no chunk.
Bytes make_disk(std::uint64_t seed, std::uint64_t noise_bytes = 6 * kMiB) {
    Bytes disk(noise_bytes + 6 * kMiB + 4096);
    const Bytes noise = random_bytes(noise_bytes, seed);
    std::ranges::copy(noise, disk.begin() + kMiB);
    std::ranges::copy(std::span(noise).first(2 * kMiB),
                      disk.begin() + static_cast<long>(noise_bytes + 2 * kMiB));
    std::ranges::copy(std::span(noise).first(4096), disk.end() - 4096);
    return disk;
}

class TarImages : public ::testing::Test {
  protected:
    struct Opened {
        Fd fd;
        std::unique_ptr<Files> files;
        StreamFiles* stream = nullptr;
        std::unique_ptr<ImageReader> reader;
        std::unique_ptr<StreamedImage> streamed;
        const block::Reader& disk() const {
            return streamed ? static_cast<const block::Reader&>(*streamed) : *reader;
        }
    };
    // As open_image does; through a pipe means: only once, and in order.
    Opened open(std::span<const std::byte> tar, bool through_pipe) {
        const std::string path = scratch_.file("image.tar");
        test::write_file(path, tar);
        Opened opened;
        StoredImage image;
        if (through_pipe) {
            opened.fd = open_path(path, O_RDONLY, Code::kInternal);
            auto stream = std::make_unique<StreamFiles>(opened.fd.get(), "a pipe");
            opened.stream = stream.get();
            image = stream->image();
            opened.files = std::move(stream);
        } else {
            opened.files = open_tar(path);
            image = read_store_index(*opened.files).find({path, {}, {}});
        }
        Manifest manifest = read_manifest(*opened.files, image, {}, nullptr);
        opened.reader =
            std::make_unique<ImageReader>(*opened.files, std::move(manifest), image.base(), "image");
        if (through_pipe) opened.streamed = std::make_unique<StreamedImage>(*opened.reader, *opened.stream);
        return opened;
    }
    static void take_rest(const Opened& image, StreamFiles::Rest rest = StreamFiles::Rest::kForgotten) {
        if (image.stream != nullptr) image.stream->take_rest(image.reader->map().packs().size(), rest);
    }
    // As a copy does: what it reads is announced, and read in the order of the disk. Empty: it was refused.
    std::optional<Bytes> restore(std::span<const std::byte> tar, bool through_pipe) {
        try {
            const Opened image = open(tar, through_pipe);
            Bytes disk(image.disk().geometry().size_bytes);
            image.disk().expect({{0, disk.size()}});
            for (std::size_t at = 0; at < disk.size(); at += kMiB)
                image.disk().read(at,
                                  std::span(disk).subspan(at, std::min<std::size_t>(kMiB, disk.size() - at)));
            take_rest(image);
            return disk;
        } catch (const Error& e) {
            EXPECT_TRUE(e.code() == Code::kIntegrity || e.code() == Code::kRefused) << e.what();
            return std::nullopt;
        }
    }
    // Whatever is wrong with it, nobody gets anything else than the disk.
    void expect_refused_or_right(const Bytes& tar, const Bytes& disk, const std::string& what) {
        for (const bool through_pipe : {false, true}) {
            const auto got = restore(tar, through_pipe);
            EXPECT_TRUE(!got || *got == disk) << what << (through_pipe ? ", through a pipe" : "");
        }
    }
    void expect_refused(const Bytes& tar, const std::string& what) {
        for (const bool through_pipe : {false, true})
            EXPECT_FALSE(restore(tar, through_pipe)) << what << (through_pipe ? ", through a pipe" : "");
    }

    test::ScratchFolder scratch_;
};

TEST_F(TarImages, GiveBackWhatWasPutInFromAFileAndFromAPipe) {
    const Bytes disk = make_disk(1, 40 * kMiB);
    const Bytes tar = test::make_tar_image({disk, "web", {{0, kMiB + 100}, {20 * kMiB, 21 * kMiB}}});
    EXPECT_EQ(restore(tar, false), disk);
    EXPECT_EQ(restore(tar, true), disk);
}

TEST_F(TarImages, StoreWhatComesTwiceOnceAndInFront) {
    const Bytes disk = make_disk(2);
    const Bytes tar = test::make_tar_image({disk});
    EXPECT_LT(tar.size(), 6 * kMiB + 300 * kKiB);
    const auto entries = test::read_tar(tar);
    std::vector<std::string> files;
    for (const auto& entry : entries)
        files.push_back(entry.file.substr(0, 5));
    // Manifest, lists, places, one pack of 2 MiB, index, one pack.
    EXPECT_THAT(files, ::testing::ElementsAre("image", "image", "image", "packs", "store", "packs"));
    EXPECT_LT(entries[3].content.size(), 2 * kMiB + 300 * kKiB);
}

TEST_F(TarImages, ThroughAPipeKeepOnDiskOnlyWhatIsNeededAgain) {
    const Bytes disk = make_disk(3, 50 * kMiB);
    const Bytes tar = test::make_tar_image({disk});
    const Opened image = open(tar, true);
    Bytes read(disk.size());
    image.disk().expect({{0, disk.size()}});
    for (std::size_t at = 0; at < disk.size(); at += 64 * kKiB)
        image.disk().read(at,
                          std::span(read).subspan(at, std::min<std::size_t>(64 * kKiB, disk.size() - at)));
    EXPECT_EQ(read, disk);
    EXPECT_LT(image.stream->spooled_bytes(), 4 * kMiB) << "2 MiB come twice";
}

TEST_F(TarImages, ThroughAPipeAreReadInAnyOrderUntilACopyBegins) {
    const Bytes disk = make_disk(4, 40 * kMiB);
    const Opened image = open(test::make_tar_image({disk}), true);
    std::mt19937_64 random(4);
    for (int i = 0; i < 100; ++i) {
        const ByteOffset begin = random() % (disk.size() - 200'000);
        Bytes part(random() % 200'000);
        image.disk().read(begin, part);
        ASSERT_TRUE(std::ranges::equal(part, std::span(disk).subspan(begin, part.size()))) << begin;
    }
}

TEST_F(TarImages, ThroughAPipeTellWhatIsNeededAgainAndGone) {
    const Bytes disk = make_disk(5, 50 * kMiB);
    const Opened image = open(test::make_tar_image({disk}), true);
    Bytes read(disk.size());
    image.disk().expect({{0, disk.size()}});
    for (int round = 0; round < 2; ++round)
        try {
            for (std::size_t at = 0; at < disk.size() / kMiB * kMiB; at += kMiB)
                image.disk().read(at, std::span(read).subspan(at, kMiB));
            EXPECT_EQ(round, 0) << "nothing of it was kept";
        } catch (const Error& e) {
            EXPECT_EQ(round, 1) << e.what();
            EXPECT_THAT(e.what(), HasSubstr("save the tar in a file"));
        }
}

TEST_F(TarImages, OfADiskThatChangedMeanwhileThereIsNone) {
    for (const ByteOffset at : {kMiB, 2 * kMiB + 5, 6 * kMiB}) {
        try {
            test::make_tar_image(
                {make_disk(6), "web", {}, {}, [&](Bytes& disk) { disk[at] ^= std::byte{1}; }});
            ADD_FAILURE() << "an image of what never was";
        } catch (const Error& e) {
            EXPECT_EQ(e.code(), Code::kIntegrity) << e.what();
            EXPECT_THAT(e.what(), HasSubstr("changed"));
        }
    }
}

TEST_F(TarImages, ThatAreCutAnywhereAreRefused) {
    const Bytes disk = make_disk(7);
    const Bytes tar = test::make_tar_image({disk, "web", {{0, 3 * kMiB}}});
    std::vector<std::size_t> cuts = {0, 1, 511, 512, tar.size() - 1024, tar.size() - 1};
    for (const auto& entry : test::read_tar(tar)) {
        const ByteOffset end = align_up(entry.begin + 512 + entry.content.size(), 512);
        for (const ByteOffset cut : {entry.begin, entry.begin + 100, entry.begin + 512, end - 1, end})
            cuts.push_back(cut);
    }
    std::mt19937_64 random(7);
    for (int i = 0; i < 20; ++i)
        cuts.push_back(random() % tar.size());
    for (const std::size_t cut : cuts) {
        const auto part = std::span(tar).first(cut);
        for (const bool through_pipe : {false, true})
            EXPECT_FALSE(restore(part, through_pipe)) << "cut at " << cut << ", pipe: " << through_pipe;
    }
}

TEST_F(TarImages, ThatAreCutSayTheSameHoweverOftenTheyAreAsked) {
    const Bytes tar = test::make_tar_image({make_disk(17, 40 * kMiB)});
    const Opened image = open(std::span(tar).first(tar.size() - 300'000), true);
    Bytes part(kMiB);
    for (int i = 0; i < 3; ++i)
        try {
            image.disk().read(40 * kMiB, part);
            FAIL() << "read what never came";
        } catch (const Error& e) {
            EXPECT_EQ(e.code(), Code::kIntegrity) << e.what();
            EXPECT_THAT(e.what(), HasSubstr("a pipe"));
        }
}

TEST_F(TarImages, ThroughAPipeAreWholeWhenTheirEndHasComeAndAreKeptIfAsked) {
    const Bytes disk = make_disk(18, 40 * kMiB);
    const Opened image = open(test::make_tar_image({disk}), true);
    take_rest(image, StreamFiles::Rest::kKept);
    Bytes read(disk.size());
    for (ByteOffset end = disk.size(); end > 0;) {
        const ByteOffset begin = end - std::min<ByteOffset>(end, 5 * kMiB);
        image.disk().read(begin, std::span(read).subspan(begin, end - begin));
        end = begin;
    }
    EXPECT_EQ(read, disk);
}

TEST_F(TarImages, BehindWhichMorePacksComeAreNotTakenForWhole) {
    const Bytes disk = make_disk(19);
    auto entries = test::read_tar(test::make_tar_image({disk}));
    auto other = test::read_tar(test::make_tar_image({make_disk(20)}));
    entries.push_back(other.back());
    EXPECT_FALSE(restore(test::write_tar(entries), true));
}

// More chunks than are known: stretches that are the same fill packs that are the same.
TEST_F(TarImages, OfMoreDataThanCanBeKnownHaveNoPackTwice) {
    const Bytes noise = random_bytes(16 * kMiB, 21);
    Bytes disk;
    for (int i = 0; i < 3; ++i)
        disk.insert(disk.end(), noise.begin(), noise.end());
    for (const std::size_t most_known : {0, 3}) {
        const Bytes tar = test::make_tar_image({.disk = disk, .most_known = most_known});
        EXPECT_GT(tar.size(), 47 * kMiB) << "nothing was stored again";
        EXPECT_EQ(restore(tar, false), disk);
        EXPECT_EQ(restore(tar, true), disk);
    }
}

TEST_F(TarImages, WhosePlacesNamePacksThatNoChunkIsInAreRefused) {
    auto entries = test::read_tar(test::make_tar_image({make_disk(22)}));
    Bytes& places = entries[2].content;
    ASSERT_TRUE(entries[2].file.ends_with(".places"));
    // As many as would take memory, and all of them there.
    const auto count = static_cast<std::uint32_t>(load_le<std::uint64_t>(places, 16) + 1);
    const auto packs = load_le<std::uint32_t>(places, 12);
    store_le<std::uint32_t>(places, 12, count);
    places.resize(places.size() + (count - packs) * sizeof(PackId));
    expect_refused(test::write_tar(entries), "packs of no use");
}

TEST_F(TarImages, WithAWrongBitAnywhereGiveNothingElseThanTheDisk) {
    const Bytes disk = make_disk(8);
    const Bytes good = test::make_tar_image({disk});
    const auto entries = test::read_tar(good);
    std::mt19937_64 random(8);
    for (int i = 0; i < 50; ++i) {
        Bytes tar = good;
        const auto& entry = entries[random() % entries.size()];
        // In headers as often as in what follows.
        const std::uint64_t range = random() % 2 == 0 ? 512 : 512 + entry.content.size();
        const ByteOffset at = entry.begin + random() % range;
        tar[at] ^= std::byte(1u << (random() % 8));
        expect_refused_or_right(tar, disk, fmt::format("seed 8, round {}: byte {} of {}", i, at, entry.file));
    }
}

TEST_F(TarImages, WithFilesThatAreOfNoImageAreRefused) {
    const auto good = test::read_tar(test::make_tar_image({make_disk(9)}));
    for (const char* file : {"../etc/passwd", "/etc/passwd", "images/web/1.json/..", "images/../1.json",
                             "images/web/01.json", "images/web/0.json", "images/web/1.sh", "packs/1.pack",
                             "images/we b/1.json", "packs/0123456789ABCDEF0123456789abcdef.pack",
                             "store.json/", "./store.json", "images/other/1.lists"}) {
        for (const std::size_t at : {std::size_t{1}, good.size()}) {
            auto entries = good;
            entries.insert(entries.begin() + static_cast<long>(at), {file, Bytes(10)});
            const Bytes tar = test::write_tar(entries);
            EXPECT_FALSE(restore(tar, false)) << file;
            if (at == 1) {
                EXPECT_FALSE(restore(tar, true)) << file;
            }
        }
    }
}

TEST_F(TarImages, WithAFileTwiceAreRefused) {
    const auto good = test::read_tar(test::make_tar_image({make_disk(10)}));
    for (std::size_t i = 0; i < good.size(); ++i) {
        auto entries = good;
        entries.insert(entries.begin() + static_cast<long>(i), good[i]);
        expect_refused(test::write_tar(entries), good[i].file);
    }
}

TEST_F(TarImages, InAnotherOrderAreReadFromAFileOnly) {
    const Bytes disk = make_disk(11);
    auto entries = test::read_tar(test::make_tar_image({disk}));
    std::ranges::reverse(entries);
    const Bytes tar = test::write_tar(entries);
    EXPECT_EQ(restore(tar, false), disk);
    EXPECT_FALSE(restore(tar, true));
}

TEST_F(TarImages, WithoutOneOfTheirFilesAreRefused) {
    const auto good = test::read_tar(test::make_tar_image({make_disk(12)}));
    for (std::size_t i = 0; i < good.size(); ++i) {
        auto entries = good;
        entries.erase(entries.begin() + static_cast<long>(i));
        const Bytes tar = test::write_tar(entries);
        EXPECT_FALSE(restore(tar, false)) << good[i].file;
        // The index of one image says nothing that is not known to whoever reads in order.
        if (good[i].file != kStoreFile) {
            EXPECT_FALSE(restore(tar, true)) << good[i].file;
        }
    }
}

// The header of the first pack, with another size in it.
Bytes with_size(Bytes tar, const std::string& octal) {
    for (const auto& entry : test::read_tar(tar)) {
        if (!entry.file.starts_with("packs/")) continue;
        const auto header = std::span(tar).subspan(entry.begin, 512);
        std::ranges::copy(as_bytes(octal), header.subspan(124).begin());
        std::ranges::fill(header.subspan(148, 8), std::byte{' '});
        unsigned sum = 0;
        for (const std::byte b : header)
            sum += std::to_integer<unsigned>(b);
        std::ranges::copy(as_bytes(fmt::format("{:06o}", sum)), header.subspan(148).begin());
        header[154] = std::byte{0};
        return tar;
    }
    return {};
}

TEST_F(TarImages, ThatClaimHugeFilesAreRefusedWithoutTakingTheMemory) {
    const Bytes good = test::make_tar_image({make_disk(13)});
    for (const char* octal : {"77777777777", "00777777777", "10000000000"})
        expect_refused(with_size(good, octal), octal);
    // Base 256: more than a file can have.
    for (const char first : {'\x80', '\xff', '\x7f'})
        expect_refused(with_size(good, std::string(1, first) + std::string(11, '\x7f')), "base 256");
}

TEST_F(TarImages, AreNoPlaceForLinks) {
    Bytes tar = test::make_tar_image({make_disk(14)});
    const auto entries = test::read_tar(tar);
    for (const char type : {'1', '2', '3', '5', '6'}) {
        Bytes changed = tar;
        const auto header = std::span(changed).subspan(entries[3].begin, 512);
        header[156] = std::byte(type);
        std::ranges::fill(header.subspan(148, 8), std::byte{' '});
        unsigned sum = 0;
        for (const std::byte b : header)
            sum += std::to_integer<unsigned>(b);
        std::ranges::copy(as_bytes(fmt::format("{:06o}", sum)), header.subspan(148).begin());
        header[154] = std::byte{0};
        expect_refused(changed, std::string(1, type));
    }
}

TEST_F(TarImages, AreNotOverwritten) {
    const std::string path = scratch_.file("image.tar");
    test::write_file(path, as_bytes("mine"));
    EXPECT_THROW(new_tar_file(path), Error);
    const std::string other = scratch_.file("other.tar");
    const auto output = new_tar_file(other);
    output->append(as_bytes("theirs"));
    test::write_file(other, as_bytes("mine"));
    EXPECT_THROW(output->commit(), Error);
    EXPECT_EQ(read_file(other, Code::kInternal), "mine");
}

TEST_F(TarImages, ThatAreGivenUpHaveNoName) {
    const std::string path = scratch_.file("image.tar");
    {
        const auto output = new_tar_file(path);
        output->append(as_bytes("half"));
    }
    EXPECT_TRUE(std::filesystem::is_empty(scratch_.path()));
}

}  // namespace
}  // namespace dupengine::image
