#pragma once
// A filesystem of 40 MiB with files and a deleted one, and LUKS containers of it that others than us wrote:
// QEMU (LUKS1) and cryptsetup (LUKS2). Nothing here needs device-mapper.

#include <fcntl.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>

#include "base/fd.h"
#include "tests/support/disk_image.h"
#include "tests/support/filesystems.h"

namespace dupengine::test {

inline constexpr std::uint64_t kInside = 40 * kMiB;

struct LuksContainers : testing::Test {
    void SetUp() override {
        write_key(key, 0600);
        write_file_atomic(wrong_key, as_bytes("incorrect horse"), 0600, Code::kInternal);
        // In the middle of the most that the filesystem does not use: small gaps are read with the rest.
        const auto free = look_at(filesystem).used.used.gaps_in({0, kInside});
        ASSERT_FALSE(free.empty());
        const auto most =
            *std::max_element(free.begin(), free.end(), [](auto a, auto b) { return a.size() < b.size(); });
        const Fd fd = open_path(filesystem, O_RDWR, Code::kInternal);
        pwrite_exact(fd.get(), most.begin + most.size() / 2, as_bytes(kDeletedText), Code::kInternal,
                     filesystem);
    }
    static void write_key(const std::string& path, unsigned mode) {
        write_file_atomic(path, as_bytes("correct horse"), mode, Code::kInternal);
    }

    std::string make_luks1() const {
        const std::string made = folder.file("luks1.img");
        // QEMU measures how fast it is by processor time in whole ticks, and gives up if there was none: with
        // SHA-256, for which processors have instructions, that is as likely as not.
        must_run({"qemu-img", "convert", "-O", "luks", "--object", "secret,id=key,file=" + key, "-o",
                  "key-secret=key,iter-time=10,hash-alg=sha512", filesystem, made});
        return made;
    }
    // Encrypted where it lies: cryptsetup moves it behind the header and needs no device-mapper for that.
    std::string make_luks2(const std::string& sector_bytes) const {
        const std::string made = folder.file("luks2.img");
        must_run({"cp", filesystem, made});
        must_run({"truncate", "--size=+32M", made});
        must_run({"cryptsetup", "reencrypt", "--encrypt", "--batch-mode", "--type", "luks2",
                  "--disable-locks", "--reduce-device-size", "32M", "--sector-size", sector_bytes, "--pbkdf",
                  "pbkdf2", "--pbkdf-force-iterations", "1000", "--key-file", key, made});
        return made;
    }
    std::string make_target(const std::string& source) const {
        const std::uint64_t size = std::filesystem::file_size(source);
        std::string target = folder.sparse_file("target.img", size);
        fill_with_old_data(target, size);
        return target;
    }
    // What QEMU reads of a LUKS1 container with this key.
    std::string open_luks1(const std::string& container, const std::string& with) const {
        std::string opened = folder.file("opened.img");
        must_run({"qemu-img", "convert", "--object", "secret,id=key,file=" + with, "--image-opts",
                  "driver=luks,key-secret=key,file.filename=" + container, "-O", "raw", opened});
        return opened;
    }
    // cryptsetup, once more, gives the filesystem back where it lies: what is decrypted lies in front again.
    void open_luks2(const std::string& container, const std::string& with) const {
        must_run({"cryptsetup", "reencrypt", "--decrypt", "--batch-mode", "--disable-locks",
                  "--force-offline-reencrypt", "--key-file", with, "--header", folder.file("exported"),
                  container});
        must_run({"truncate", "--size", std::to_string(kInside), container});
        std::filesystem::remove(folder.file("exported"));
    }
    void expect_the_same_files(const std::string& decrypted) const {
        const RunResult checked = run_program({"e2fsck", "-fn", decrypted});
        EXPECT_EQ(checked.status, 0) << checked.out;
        EXPECT_EQ(ext_tree_digest(folder, decrypted), ext_tree_digest(folder, filesystem));
        EXPECT_FALSE(file_contains(decrypted, kDeletedText));
    }

    ScratchFolder folder;
    std::string key = folder.file("key"), wrong_key = folder.file("wrong key");
    std::string filesystem = make_ext(folder, "filesystem.img", kInside, {"-t", "ext4", "-b", "4096"},
                                      make_tree(folder, "tree", 1));
};

}  // namespace dupengine::test
