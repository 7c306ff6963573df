// Which mapping of device-mapper is the plaintext of a container, on a machine that is made up of files: the
// container is a file, a loop device lies on it, and a mapping on that.

#include "layout/open_mappings.h"

#include <gtest/gtest.h>
#include <sys/sysmacros.h>

#include <filesystem>
#include <fstream>

#include "block/open.h"
#include "tests/support/scratch.h"

namespace dupengine::layout {
namespace {

namespace fs = std::filesystem;

constexpr std::uint64_t kPayload = 2 * kMiB, kSize = 8 * kMiB;
const DeviceNumber kLoop = makedev(240, 9), kMapped = makedev(241, 0);

class FoundMapping : public testing::Test {
  protected:
    FoundMapping() {
        device("loop9", "240:9", kSize / 512);
        write("devices/loop9/loop/backing_file", container_ + "\n");
        write("devices/loop9/loop/offset", "0\n");
        device("dm-0", "241:0", (kSize - kPayload) / 512);
        write("devices/dm-0/dm/name", "secret\n");
        write("devices/dm-0/dm/uuid", "CRYPT-LUKS2-0123456789abcdef0123456789abcdef-secret\n");
        fs::create_directories(sys() / "devices/dm-0/slaves/loop9");
        fs::create_directories(sys() / "devices/loop9/holders/dm-0");
        fs::create_directories(scratch_.file("dev"));
        std::ofstream(scratch_.file("dev/dm-0")) << "the plaintext";
        fs::create_directories(scratch_.file("proc"));
    }
    fs::path sys() const { return scratch_.file("sys"); }
    void write(const std::string& path, const std::string& text) const {
        fs::create_directories((sys() / path).parent_path());
        std::ofstream(sys() / path) << text;
    }
    void device(const std::string& name, const std::string& numbers, std::uint64_t sectors) const {
        write("devices/" + name + "/dev", numbers + "\n");
        write("devices/" + name + "/size", std::to_string(sectors) + "\n");
        for (const std::string& at : {"dev/block/" + numbers, "class/block/" + name, "block/" + name}) {
            fs::create_directories((sys() / at).parent_path());
            fs::create_symlink(sys() / "devices" / name, sys() / at);
        }
    }
    // How it is said to be, or what is read through it.
    std::string look(block::Extent part) {
        const SystemRoots roots{scratch_.file("proc"), scratch_.file("sys"), scratch_.file("dev")};
        OpenMappings mappings(OpenMappings::For::kCopy, roots, [&](DeviceNumber mapped) {
            EXPECT_EQ(mapped, kMapped);
            return table_;
        });
        const auto disk = block::open_source(container_);
        const Plaintext found = mappings.find(block::Window(*disk, part, "container"), header_);
        if (found.reader == nullptr) return found.how;
        EXPECT_EQ(as_text(block::read_extent(*found.reader, {0, 13})), "the plaintext");
        return found.how;
    }
    std::string look() { return look({0, kSize}); }

    test::ScratchFolder scratch_;
    std::string container_ = scratch_.sparse_file("container", kSize);
    LuksHeader header_{2, "01234567-89ab-cdef-0123-456789abcdef", {kPayload, kSize}, 4096, "aes-xts-plain64",
                       0};
    std::optional<CryptTable> table_ = CryptTable{kLoop, kPayload, 4096};
};

constexpr const char* kOther = "open as secret, but not as its header says";

TEST_F(FoundMapping, ThatDecryptsWhereTheHeaderSaysIsThePlaintext) {
    EXPECT_EQ(look(), "open as secret");
}

// Read through it, used extents would be those of something else.
TEST_F(FoundMapping, ThatDecryptsAnythingElseIsNot) {
    table_->begin += 512;
    EXPECT_EQ(look(), kOther);
    table_ = CryptTable{kLoop, kPayload, 512};
    EXPECT_EQ(look(), kOther);
    table_ = CryptTable{makedev(240, 8), kPayload, 4096};
    EXPECT_EQ(look(), kOther);
    table_.reset();
    EXPECT_EQ(look(), kOther);
}

TEST_F(FoundMapping, ThatWasMadeFromAnotherHeaderIsNot) {
    header_.uuid[0] = '1';
    EXPECT_EQ(look(), kOther);
    header_.uuid[0] = '0';
    header_.version = 1;
    EXPECT_EQ(look(), kOther);
}

TEST_F(FoundMapping, OnAnotherPlaceOrOfAnotherKindIsNone) {
    EXPECT_EQ(look({kMiB, kSize}), "closed");
    write("devices/loop9/loop/offset", std::to_string(kMiB) + "\n");
    EXPECT_EQ(look(), "closed");
    EXPECT_EQ(look({kMiB, kSize}), "open as secret") << "a partition of a disk that a loop device shows";
    write("devices/dm-0/dm/uuid", "LVM-0123456789abcdef0123456789abcdef\n");
    EXPECT_EQ(look({kMiB, kSize}), "closed");
}

}  // namespace
}  // namespace dupengine::layout
