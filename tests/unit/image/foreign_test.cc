// Disks in somebody else's form: what is taken for what, and what of it is refused.

#include <fcntl.h>
#include <gmock/gmock.h>

#include <random>

#include "base/fd.h"
#include "image/foreign/decompress.h"
#include "image/foreign/foreign_disk.h"
#include "tests/support/scratch.h"
#include "tests/support/tar_image.h"

namespace dupengine::image {
namespace {

using ::testing::HasSubstr;

ForeignDisk open_file(const std::string& path, SourceFormat format) {
    const Fd file = open_path(path, O_RDONLY, Code::kInternal);
    return open_foreign({file.get(), path}, format);
}

Bytes some_disk(std::size_t size, std::uint64_t seed) {
    std::mt19937_64 random(seed);
    Bytes disk(size);
    for (std::size_t at = 0; at < size; at += 3000)
        disk[at] = static_cast<std::byte>(random());
    for (std::size_t at = size / 3; at < size / 2; ++at)
        disk[at] = static_cast<std::byte>(random());
    return disk;
}

struct Form {
    const char* program;
    DiskForm form;
};
void PrintTo(const Form& form, std::ostream* out) {
    *out << form.program;
}

class CompressedDisks : public ::testing::TestWithParam<Form> {
  protected:
    Bytes compress(std::span<const std::byte> disk) const {
        const std::string path = scratch_.file("disk");
        test::write_file(path, disk);
        std::vector<std::string> argv = {GetParam().program, "-c", path};
        if (GetParam().form == DiskForm::kZstd) argv.insert(argv.begin() + 1, "--check");
        const std::string packed = test::must_run(argv);
        return {as_bytes(packed).begin(), as_bytes(packed).end()};
    }
    // Empty if it is refused.
    std::optional<Bytes> restore(std::span<const std::byte> packed) const {
        const std::string path = scratch_.file("packed");
        test::write_file(path, packed);
        try {
            const ForeignDisk disk = open_file(path, SourceFormat::kCompressed);
            Bytes bytes(disk.reader->geometry().size_bytes);
            disk.reader->read(0, bytes);
            return bytes;
        } catch (const Error& e) {
            EXPECT_TRUE(e.code() == Code::kSourceIo || e.code() == Code::kRefused) << e.what();
            return std::nullopt;
        }
    }
    test::ScratchFolder scratch_;
};

TEST_P(CompressedDisks, AreWhatWasPackedAndZerosOfThemAreHoles) {
    const Bytes disk = some_disk(3 * kMiB + 512, 1);
    Bytes with_hole(8 * kMiB);
    std::ranges::copy(disk, with_hole.begin());
    EXPECT_EQ(restore(compress(disk)), disk);
    EXPECT_EQ(restore(compress(with_hole)), with_hole);
    const ForeignDisk opened = open_file(scratch_.file("packed"), SourceFormat::kAuto);
    EXPECT_TRUE(opened.reader->next_data({4 * kMiB, 8 * kMiB}).empty());
    EXPECT_THAT(opened.note, HasSubstr(form_name(GetParam().form)));
    EXPECT_THAT(opened.note, HasSubstr("8 MiB"));
}

TEST_P(CompressedDisks, OfSeveralStreamsAreOne) {
    const Bytes disk = some_disk(2 * kMiB, 2);
    Bytes packed = compress(std::span(disk).first(700'000));
    const Bytes rest = compress(std::span(disk).subspan(700'000));
    packed.insert(packed.end(), rest.begin(), rest.end());
    EXPECT_EQ(restore(packed), disk);
}

TEST_P(CompressedDisks, ThatAreCutAnywhereAreRefused) {
    const Bytes disk = some_disk(kMiB, 3);
    const Bytes one = compress(disk);
    Bytes two = one;
    two.insert(two.end(), one.begin(), one.end());
    std::mt19937_64 random(3);
    for (int i = 0; i < 40; ++i) {
        // Between two streams there is nothing that tells of the second.
        const std::size_t cut = i < 20 ? two.size() - 1 - static_cast<std::size_t>(i) : random() % two.size();
        if (cut == one.size()) continue;
        EXPECT_FALSE(restore(std::span(two).first(cut))) << "seed 3, round " << i << ", cut at " << cut;
    }
}

TEST_P(CompressedDisks, WithAWrongBitGiveNothingElseThanTheDisk) {
    const Bytes disk = some_disk(kMiB, 4);
    const Bytes one = compress(disk);
    Bytes good = one, twice = disk;
    good.insert(good.end(), one.begin(), one.end());
    twice.insert(twice.end(), disk.begin(), disk.end());
    std::mt19937_64 random(4);
    for (int i = 0; i < 60; ++i) {
        Bytes packed = good;
        // The first bytes of the second stream as often as all others.
        const std::size_t at = i % 2 == 0 ? random() % good.size() : one.size() + random() % 16;
        packed[at] ^= std::byte(1u << (random() % 8));
        const auto got = restore(packed);
        EXPECT_TRUE(!got || *got == twice)
            << "seed 4, round " << i << ", byte " << at << " of " << good.size();
    }
}

TEST_P(CompressedDisks, WithSomethingElseBehindThemAreRefused) {
    Bytes packed = compress(some_disk(kMiB, 5));
    for (const char* more : {"x", "something else that is longer than any header of a stream"}) {
        Bytes longer = packed;
        longer.insert(longer.end(), as_bytes(more).begin(), as_bytes(more).end());
        EXPECT_FALSE(restore(longer)) << more;
    }
}

INSTANTIATE_TEST_SUITE_P(Form, CompressedDisks,
                         ::testing::Values(Form{"gzip", DiskForm::kGzip}, Form{"xz", DiskForm::kXz},
                                           Form{"zstd", DiskForm::kZstd}, Form{"bzip2", DiskForm::kBzip2}),
                         [](const auto& tested) { return std::string(tested.param.program); });

Bytes bytes_of(std::string_view text, std::size_t size = 1024) {
    Bytes bytes(std::max(size, text.size()));
    std::ranges::copy(as_bytes(text), bytes.begin());
    return bytes;
}

TEST(ForeignDisks, AreToldByTheirFirstBytes) {
    using namespace std::string_view_literals;
    EXPECT_EQ(tell_form(bytes_of("\x1f\x8b\x08"), SourceFormat::kAuto, "x"), DiskForm::kGzip);
    EXPECT_EQ(tell_form(bytes_of("\xfd"
                                 "7zXZ"),
                        SourceFormat::kAuto, "x"),
              DiskForm::kXz);
    EXPECT_EQ(tell_form(bytes_of("QFI\xfb"), SourceFormat::kAuto, "x"), DiskForm::kQcow2);
    EXPECT_EQ(tell_form(bytes_of("\x1f\x8b\x08"), SourceFormat::kRaw, "x"), DiskForm::kRaw);
    EXPECT_EQ(tell_form(bytes_of(""), SourceFormat::kAuto, "x"), DiskForm::kRaw);
    EXPECT_EQ(tell_form({}, SourceFormat::kAuto, "x"), DiskForm::kRaw);
    EXPECT_THROW(tell_form(bytes_of(""), SourceFormat::kCompressed, "x"), Error);
    EXPECT_THROW(tell_form(bytes_of("\x1f\x8b\x08"), SourceFormat::kQcow2, "x"), Error);
}

TEST(ForeignDisks, ThatMayBeARawDiskAsWellAreNotGuessed) {
    for (const char* begin : {"\x1f\x8b\x08", "QFI\xfb", "BZh9"}) {
        Bytes disk = bytes_of(begin);
        disk[510] = std::byte{0x55};
        disk[511] = std::byte{0xaa};
        EXPECT_THROW(tell_form(disk, SourceFormat::kAuto, "x"), Error);
        EXPECT_EQ(tell_form(disk, SourceFormat::kRaw, "x"), DiskForm::kRaw);
        EXPECT_NE(tell_form(disk, begin[0] == 'Q' ? SourceFormat::kQcow2 : SourceFormat::kCompressed, "x"),
                  DiskForm::kRaw);
    }
}

void store_be(Bytes& bytes, std::size_t at, std::uint64_t value, std::size_t size) {
    for (std::size_t i = 0; i < size; ++i)
        bytes[at + i] = static_cast<std::byte>(value >> 8 * (size - 1 - i));
}

Bytes good_header() {
    Bytes header = bytes_of("QFI\xfb", kFormBytes);
    store_be(header, 4, 3, 4);
    store_be(header, 100, 104, 4);
    return header;
}

TEST(Qcow2Headers, ThatAskForMoreThanThisFileAreRefused) {
    EXPECT_NO_THROW(check_qcow2_header(good_header(), "x"));
    struct Change {
        const char* what;
        std::size_t at;
        std::uint64_t value;
        std::size_t size;
    };
    for (const Change& change :
         {Change{"a backing file", 8, 512, 8}, Change{"a backing file", 8, 1ull << 63, 8},
          Change{"version", 4, 4, 4}, Change{"version", 4, 1, 4}, Change{"encrypted", 32, 2, 4},
          Change{"another file", 72, 4, 8}, Change{"corrupt", 72, 2, 8},
          Change{"not known", 72, 1ull << 40, 8}}) {
        Bytes header = good_header();
        store_be(header, change.at, change.value, change.size);
        EXPECT_THROW(check_qcow2_header(header, "x"), Error) << change.what;
    }
    Bytes named = good_header();
    store_be(named, 104, 0x6803f857,
             4);  // the table of names of features, 5 bytes, then a name of a data file
    store_be(named, 108, 5, 4);
    store_be(named, 120, 0x44415441, 4);
    EXPECT_THROW(check_qcow2_header(named, "x"), Error);
    EXPECT_THROW(check_qcow2_header(std::span(named).first(50), "x"), Error);
}

TEST(Qcow2Headers, OfAnyBytesAreReadWithinTheirBounds) {
    std::mt19937_64 random(6);
    for (int i = 0; i < 3000; ++i) {
        Bytes header = good_header();
        for (int k = 0; k < 4; ++k)
            header[4 + random() % 300] = static_cast<std::byte>(random());
        header.resize(104 + random() % 400);
        try {
            check_qcow2_header(header, "x");
        } catch (const Error&) {
            // Either is fine.
        }
    }
}

}  // namespace
}  // namespace dupengine::image
