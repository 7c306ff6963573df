// A qcow2 file that ends before its disk does is refused; one that is whole is taken, whoever wrote it.

#include "image/foreign/qcow2_tables.h"

#include <gmock/gmock.h>

#include <filesystem>
#include <random>

#include "base/fd.h"
#include "block/open.h"
#include "tests/support/fake_devices.h"
#include "tests/support/scratch.h"
#include "tests/support/tar_image.h"

namespace dupengine::image {
namespace {

// The last piece of the disk holds data, and what it has there is no multiple of anything.
Bytes some_disk(std::size_t size) {
    std::mt19937_64 random(1);
    Bytes disk(size);
    for (std::size_t at = 50'000; at < size; at += 200'000)
        for (std::size_t i = at; i < std::min(at + 90'000, size); ++i)
            disk[i] = static_cast<std::byte>(random());
    for (std::size_t i = size - 5'000; i < size; ++i)
        disk[i] = static_cast<std::byte>(random() % 16);
    return disk;
}

// Empty if it is refused.
bool is_whole(const block::Reader& file) {
    try {
        refuse_if_cut_off(file);
        return true;
    } catch (const Error& e) {
        EXPECT_EQ(e.code(), Code::kSourceIo) << e.what();
        return false;
    }
}
bool is_whole(const std::string& path) {
    return is_whole(*block::open_source(path));
}

class Qcow2Files : public ::testing::Test {
  protected:
    void make(std::size_t disk_bytes, const std::string& options) {
        test::write_file(raw_, some_disk(disk_bytes));
        test::must_run(
            {"sh", "-c", fmt::format("qemu-img convert -O qcow2 -f raw {} {} {}", options, raw_, path_)});
    }
    void cut(std::uint64_t bytes) {
        std::filesystem::resize_file(path_, std::filesystem::file_size(path_) - bytes);
    }
    bool reads_as_the_disk() const {
        const std::string back = scratch_.file("back");
        test::must_run({"qemu-img", "convert", "-O", "raw", path_, back});
        return read_file(back, Code::kInternal) == read_file(raw_, Code::kInternal);
    }

    test::ScratchFolder scratch_;
    std::string raw_ = scratch_.file("raw"), path_ = scratch_.file("disk.qcow2");
};

TEST_F(Qcow2Files, OfAnyKindThatIsWholeAreTaken) {
    for (const std::size_t size : {kMiB, kMiB + 1536, std::uint64_t{512}, std::uint64_t{70'144}}) {
        if (size < 5'000) {
            test::must_run({"qemu-img", "create", "-q", "-f", "qcow2", path_, std::to_string(size)});
            EXPECT_TRUE(is_whole(path_)) << size;
            continue;
        }
        for (const char* options :
             {"", "-c", "-o compat=0.10", "-c -o compat=0.10", "-o cluster_size=512",
              "-c -o cluster_size=512", "-o cluster_size=2M", "-c -o cluster_size=2M", "-o extended_l2=on",
              "-c -o extended_l2=on", "-o extended_l2=on,cluster_size=16K",
              "-o extended_l2=on,cluster_size=2M", "-o preallocation=metadata", "-o preallocation=falloc",
              "-o preallocation=metadata,extended_l2=on", "-o lazy_refcounts=on",
              "-c -o compression_type=zstd", "-c -o compression_type=zstd,cluster_size=2M", "-S 0"}) {
            make(size, options);
            EXPECT_TRUE(is_whole(path_)) << size << " bytes, " << options;
        }
    }
}

TEST_F(Qcow2Files, WithZeroClustersAndThingsInAnyOrderAreTaken) {
    make(kMiB, "");
    test::must_run({"qemu-io", "-c", "write -z 100k 100k", "-c", "write -z -u 300k 128k", "-c",
                    "discard 0 64k", "-c", "write -P 7 800k 1536", path_});
    EXPECT_TRUE(is_whole(path_));
}

TEST_F(Qcow2Files, ThatAreCutAreRefused) {
    for (const char* options : {"", "-o compat=0.10", "-o extended_l2=on", "-o preallocation=metadata",
                                "-o preallocation=falloc", "-o cluster_size=512"})
        for (const std::uint64_t bytes : {1, 512, 60'000}) {
            make(kMiB, options);
            cut(bytes);
            EXPECT_FALSE(is_whole(path_)) << options << " by " << bytes;
        }
    for (const std::uint64_t bytes : {1, 512, 60'000, 2'000'000}) {
        make(4 * kMiB, "-o cluster_size=2M");
        cut(bytes);
        EXPECT_FALSE(is_whole(path_)) << "clusters of 2 MiB, by " << bytes;
    }
}

// qemu-img fills up the last sector, others do not: of it, only what is of no use may be lacking.
TEST_F(Qcow2Files, ThatAreCompressedAndCutAreRefusedUnlessNothingIsLost) {
    for (const char* options :
         {"-c", "-c -o cluster_size=2M", "-c -o extended_l2=on", "-c -o compression_type=zstd",
          "-c -o compression_type=zstd,cluster_size=2M"}) {
        for (const std::uint64_t bytes : {512, 513, 60'000}) {
            make(kMiB, options);
            cut(bytes);
            EXPECT_FALSE(is_whole(path_)) << options << " by " << bytes;
        }
        make(kMiB, options);
        unsigned refused = 0;
        for (unsigned cuts = 0; cuts < 511; cuts += 30, cut(30)) {
            if (!is_whole(path_))
                ++refused;
            else
                EXPECT_TRUE(refused == 0 && reads_as_the_disk()) << options << " by " << cuts;
        }
        EXPECT_GT(refused, 0u) << options;
    }
}

TEST_F(Qcow2Files, OfWhichTheLastCompressedClusterDoesNotFillItsSectorAreTaken) {
    test::write_file(raw_, some_disk(64 * kKiB));  // a part of it is zeros
    for (const char* type : {"zlib", "zstd"}) {
        test::must_run({"qemu-img", "create", "-q", "-f", "qcow2", "-o",
                        std::string("compression_type=") + type, path_, "64K"});
        test::must_run({"qemu-io", "-c", "write -c -s " + raw_ + " 0 64k", path_});
        ASSERT_NE(std::filesystem::file_size(path_) % 512, 0u) << type;
        EXPECT_TRUE(is_whole(path_)) << type;
        EXPECT_TRUE(reads_as_the_disk()) << type;
        cut(1);
        EXPECT_FALSE(is_whole(path_)) << type;
    }
}

void put_be(Bytes& bytes, std::size_t at, std::uint64_t value, std::size_t size = 8) {
    for (std::size_t i = 0; i < size; ++i)
        bytes[at + i] = static_cast<std::byte>(value >> 8 * (size - 1 - i));
}

// Header, L1 table, one L2 table, data: each in a cluster.
struct SmallFile {
    explicit SmallFile(unsigned bits = 9, unsigned version = 3)
        : cluster(std::size_t{1} << bits), bytes(4 * cluster) {
        put_be(bytes, 0, 0x514649fb, 4);
        put_be(bytes, 4, version, 4);
        put_be(bytes, 20, bits, 4);
        put_be(bytes, 24, 2 * cluster);
        put_be(bytes, 36, 1, 4);
        put_be(bytes, 40, cluster);
        put_be(bytes, 100, 104, 4);
        put_be(bytes, cluster, 2 * cluster);
        put_be(bytes, 2 * cluster, 3 * cluster);
    }
    SmallFile& with(std::size_t at, std::uint64_t value, std::size_t size = 8) {
        put_be(bytes, at, value, size);
        return *this;
    }
    bool is_whole(std::size_t size) const {
        auto content = std::make_shared<test::DiskBytes>(size);
        std::copy_n(bytes.begin(), std::min(size, bytes.size()), content->content.begin());
        return image::is_whole(test::MemoryDevice(content));
    }
    bool is_whole() const { return is_whole(bytes.size()); }

    std::size_t cluster;
    Bytes bytes;
};

TEST(Qcow2Tables, EndWhereTheDiskNeedsThem) {
    const SmallFile file;
    EXPECT_TRUE(file.is_whole());
    for (const std::size_t size : {2047, 1537, 1536, 1535, 1024 + 15, 1024, 512 + 7, 104, 71, 1})
        EXPECT_FALSE(file.is_whole(size)) << size;
    // Only the first table, of which nothing is used.
    SmallFile empty = file;
    EXPECT_TRUE(empty.with(512, 0).is_whole(512 + 8));
    EXPECT_FALSE(empty.is_whole(512 + 7));
    // The second table tells of two clusters.
    SmallFile unused = file;
    EXPECT_TRUE(unused.with(1024, 0).is_whole(1024 + 16));
    EXPECT_FALSE(unused.is_whole(1024 + 15));
}

TEST(Qcow2Tables, OfADiskThatEndsWithinAClusterNeedOnlyItsPart) {
    SmallFile file;
    file.with(24, 512 + 100).with(1024 + 8, 1536).with(1024, 0);
    EXPECT_TRUE(file.is_whole(1536 + 100));
    EXPECT_FALSE(file.is_whole(1536 + 99));
}

TEST(Qcow2Tables, NeedNothingForClustersOfZerosWhichVersion2DoesNotHave) {
    EXPECT_TRUE(SmallFile().with(1024, 1536 | 1).is_whole(1536));
    EXPECT_TRUE(SmallFile().with(1024, 1).is_whole(1536));
    EXPECT_FALSE(SmallFile(9, 2).with(1024, 1536 | 1).is_whole(1536));
}

TEST(Qcow2Tables, NeedTheSubclustersThatHaveData) {
    SmallFile file(14);
    const std::size_t table = 2 * file.cluster, data = 3 * file.cluster;
    file.with(72, 16);
    EXPECT_TRUE(file.with(table + 8, 0).is_whole(data)) << "none has";
    EXPECT_TRUE(file.with(table + 8, 0xffff'ffff'0000'0000).is_whole(data)) << "all are zeros";
    EXPECT_TRUE(file.with(table + 8, 0b101).is_whole(data + 3 * 512));
    EXPECT_FALSE(file.is_whole(data + 3 * 512 - 1));
    EXPECT_TRUE(file.with(table + 8, 0xffff'ffff).is_whole(data + file.cluster));
    EXPECT_FALSE(file.is_whole(data + file.cluster - 1));
    EXPECT_FALSE(SmallFile(13).with(72, 16).is_whole()) << "no clusters of 8 KiB";
}

TEST(Qcow2Tables, ThatMakeNoSenseAreRefused) {
    struct Change {
        const char* what;
        std::size_t at;
        std::uint64_t value;
        std::size_t size = 8;
    };
    for (const Change& change :
         {Change{"clusters of 256 bytes", 20, 8, 4}, Change{"clusters of 4 MiB", 20, 22, 4},
          Change{"clusters of 2^255 bytes", 20, 255, 4}, Change{"no first table", 36, 0, 4},
          Change{"a disk larger than its tables", 24, 1 << 20}, Change{"a disk of 2^64 bytes", 24, ~0ull},
          Change{"first table behind the end", 40, 4096}, Change{"first table far behind", 40, ~0ull - 3},
          Change{"second table behind the end", 512, 4096},
          Change{"second table far behind", 512, 0x00ff'ffff'ffff'fe00},
          Change{"data behind the end", 1024, 2048},
          Change{"data far behind the end", 1024, 0x00ff'ffff'ffff'fe00},
          Change{"compressed behind the end", 1024, (1ull << 62) | 2048},
          Change{"compressed over the end", 1024, (1ull << 62) | (1ull << 61) | 2047},
          Change{"compressed far behind the end", 1024, (1ull << 62) - 1 + (1ull << 62)}})
        EXPECT_FALSE(SmallFile().with(change.at, change.value, change.size).is_whole()) << change.what;
    EXPECT_FALSE(SmallFile(14).with(2 * 16384, 2 * 16384 + 512).is_whole()) << "data not at a cluster";
    EXPECT_FALSE(SmallFile(14).with(16384, 16384 + 512).is_whole()) << "a table not at a cluster";
}

// Four million names of one table are 32 MiB of a file, and would be terabytes to read.
TEST(Qcow2Tables, ThatAreNamedMoreOftenThanThereIsRoomAreRefused) {
    SmallFile file;
    file.bytes.resize(512 + 1000 * 8);
    file.with(36, 1000, 4).with(24, 1000 * 512 / 8 * 512);
    for (std::size_t i = 0; i < 1000; ++i)
        file.with(512 + 8 * i, 1024);
    auto content = std::make_shared<test::DiskBytes>(0);
    content->content = file.bytes;
    const test::MemoryDevice device(content);
    EXPECT_FALSE(is_whole(device));
    EXPECT_LT(device.calls().size(), 30u);
}

// One sector at the end of the file, and each entry says that it goes on behind it.
TEST(Qcow2Tables, ThatNameOneCutClusterWithoutEndAreRefused) {
    SmallFile file(16);
    const std::size_t table = 2 * file.cluster, data = 3 * file.cluster;
    file.with(24, file.cluster * 8192);
    for (std::size_t i = 0; i < 8192; ++i)
        file.with(table + 8 * i, (1ull << 62) | data);
    // 64 KiB of zeros, deflated.
    const Bytes deflated = from_hex("edc101010000008090feafee080a" + std::string(126, '0') + "6a");
    std::ranges::copy(deflated, file.bytes.begin() + static_cast<std::ptrdiff_t>(data));
    EXPECT_FALSE(file.is_whole(data + 200));
    for (std::size_t i = 512; i < 8192; ++i)
        file.with(table + 8 * i, 0);
    EXPECT_TRUE(file.is_whole(data + 200)) << "as many as there may be";
    EXPECT_FALSE(file.is_whole(data + 77));
}

}  // namespace
}  // namespace dupengine::image
