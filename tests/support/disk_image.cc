#include "tests/support/disk_image.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>

#include "base/fd.h"
#include "base/random.h"
#include "block/device.h"
#include "block/open.h"
#include "codec/digest.h"

namespace dupengine::test {
namespace {

using block::Extent;
namespace fs = std::filesystem;

constexpr int kFiles = 120;
constexpr int kDeletedFiles = 6;

void write_text(const std::string& path, const std::string& text) {
    write_file_atomic(path, as_bytes(text), 0644, Code::kInternal);
}

std::string random_text(SeededRandom& random, std::size_t size) {
    Bytes bytes(size);
    random.fill(bytes);
    return std::string(as_text(bytes));
}

void put_range(const std::string& from, const std::string& into, ByteOffset at) {
    must_run({"dd", "if=" + from, "of=" + into, "bs=1M", "conv=notrunc", "oflag=seek_bytes",
              "seek=" + std::to_string(at), "status=none"});
}

std::string make_root(const ScratchFolder& folder, const DiskImageRecipe& recipe, std::uint64_t size) {
    SeededRandom random(recipe.seed);
    const std::string tree = folder.file("root-tree");
    fs::create_directories(tree + "/etc/deep/er");
    fs::create_directories(tree + "/usr/bin");
    for (int i = 0; i < kFiles; ++i)
        write_text(fmt::format("{}/usr/bin/file-{}", tree, i), random_text(random, random.below(80'000)));
    write_text(tree + "/etc/hostname", "golden\n");
    std::string deleted;
    while (deleted.size() < 300'000)
        deleted += kDeletedText;
    for (int i = 0; i < kDeletedFiles; ++i)
        write_text(fmt::format("{}/gone-{}", tree, i), deleted);
    const std::string image = folder.sparse_file("root.img", size);
    must_run({"mke2fs", "-q", "-F", "-t", "ext4", "-b", recipe.sector_bytes == 4096 ? "4096" : "1024", "-L",
              "golden-root", "-d", tree, image});
    for (int i = 0; i < kDeletedFiles; ++i)
        must_run({"debugfs", "-w", "-R", fmt::format("rm /gone-{}", i), image});
    // debugfs leaves the summary of free blocks as it was before; e2fsck -y makes it as a kernel would.
    run_program({"e2fsck", "-fy", image});
    fs::remove_all(tree);
    return image;
}

std::string make_esp(const ScratchFolder& folder, const DiskImageRecipe& recipe, std::uint64_t size) {
    const std::string image = folder.sparse_file("esp.img", size);
    must_run({"mkfs.fat", "-S", std::to_string(recipe.sector_bytes), "-n", "ESP", image});
    write_text(folder.file("loader.conf"), "timeout 1\n");
    write_text(folder.file("kernel"), std::string(700'000, 'k'));
    must_run({"mmd", "-i", image, "::/loader", "::/EFI"});
    must_run({"mcopy", "-i", image, folder.file("loader.conf"), "::/loader/loader.conf"});
    must_run({"mcopy", "-i", image, folder.file("kernel"), "::/EFI/kernel"});
    return image;
}

std::string trimmed(std::string text) {
    while (!text.empty() && text.back() == '\n')
        text.pop_back();
    return text;
}

std::string tag(const std::string& image, const char* name) {
    return trimmed(must_run({"blkid", "-p", "-s", name, "-o", "value", image}));
}

// sgdisk takes a file for a disk of 512-byte sectors; a loop device says what it is.
void partition(const DiskImage& disk) {
    const auto sector = [&](ByteOffset at) { return std::to_string(at / disk.sector_bytes); };
    const auto range = [&](int number, Extent e) {
        return fmt::format("--new={}:{}:{}", number, sector(e.begin), sector(e.end - 1));
    };
    LoopDevice::Options options;
    options.sector_bytes = disk.sector_bytes;
    const LoopDevice loop(disk.path, options);
    must_run({"sgdisk", "--clear", range(1, disk.esp), "--typecode=1:ef00", "--change-name=1:esp",
              range(2, disk.swap), "--typecode=2:8200", "--change-name=2:swap", range(3, disk.root),
              "--typecode=3:8300", "--change-name=3:root", loop.path()});
}

}  // namespace

DiskImage make_disk_image(const ScratchFolder& folder, const std::string& name,
                          const DiskImageRecipe& recipe) {
    DiskImage disk;
    disk.sector_bytes = recipe.sector_bytes;
    disk.esp = {kMiB, 17 * kMiB};
    disk.swap = {17 * kMiB, 25 * kMiB};
    disk.root = {25 * kMiB, recipe.size_bytes - 4 * kMiB};
    disk.path = folder.sparse_file(name, recipe.size_bytes);
    partition(disk);
    const std::string root = make_root(folder, recipe, disk.root.size());
    const std::string esp = make_esp(folder, recipe, disk.esp.size());
    const std::string swap = folder.sparse_file("swap.img", disk.swap.size());
    must_run({"mkswap", "-q", swap});
    disk.root_uuid = tag(root, "UUID");
    disk.swap_uuid = tag(swap, "UUID");
    put_range(esp, disk.path, disk.esp.begin);
    put_range(swap, disk.path, disk.swap.begin);
    put_range(root, disk.path, disk.root.begin);
    LoopDevice::Options options;
    options.sector_bytes = disk.sector_bytes;
    const LoopDevice loop(disk.path, options);
    disk.disk_guid = tag(loop.path(), "PTUUID");
    for (const std::string& part : {root, esp, swap})
        fs::remove(part);
    return disk;
}

void fill_with_old_data(const std::string& path, std::uint64_t size_bytes) {
    const Fd fd = open_path(path, O_RDWR | O_CREAT, Code::kInternal);
    Bytes block(kMiB, std::byte{0xAA});
    const auto text = as_bytes(kOldText);
    for (std::size_t at = 0; at < block.size(); at += 4096)
        std::copy(text.begin(), text.end(), block.begin() + static_cast<std::ptrdiff_t>(at));
    for (ByteOffset at = 0; at < size_bytes; at += block.size())
        pwrite_exact(fd.get(), at,
                     std::span(block).first(std::min<std::uint64_t>(block.size(), size_bytes - at)),
                     Code::kInternal, path);
}

void extract_range(const std::string& path, Extent range, const std::string& into) {
    must_run({"dd", "if=" + path, "of=" + into, "bs=1M", "iflag=skip_bytes,count_bytes",
              "skip=" + std::to_string(range.begin), "count=" + std::to_string(range.size()), "conv=sparse",
              "status=none"});
}

namespace {

std::string tree_digest(const std::string& tree) {
    return must_run({"sh", "-c",
                     "cd \"$1\" && find . -type f -print0 | sort -z | xargs -0 -r sha256sum | sha256sum",
                     "sh", tree});
}

}  // namespace

std::string ext_tree_digest(const ScratchFolder& folder, const std::string& filesystem) {
    const std::string tree = folder.file("dumped");
    fs::remove_all(tree);
    fs::create_directory(tree);
    must_run({"debugfs", "-R", "rdump / " + tree, filesystem});
    const std::string digest = tree_digest(tree);
    fs::remove_all(tree);
    return digest;
}

std::string fat_tree_digest(const ScratchFolder& folder, const std::string& filesystem) {
    const std::string tree = folder.file("dumped");
    fs::remove_all(tree);
    fs::create_directory(tree);
    must_run({"mcopy", "-s", "-n", "-i", filesystem, "::/*", tree});
    const std::string digest = tree_digest(tree);
    fs::remove_all(tree);
    return digest;
}

void add_file(const ScratchFolder& folder, const DiskImage& image, const std::string& name, std::size_t bytes,
              std::uint64_t seed) {
    Bytes content(bytes);
    SeededRandom(seed).fill(content);
    const std::string file = folder.file("added"), root = folder.file("added.img");
    write_file_atomic(file, content, 0600, Code::kInternal);
    extract_range(image.path, image.root, root);
    must_run({"debugfs", "-w", "-R", fmt::format("write {} {}", file, name), root});
    must_run({"dd", "if=" + root, "of=" + image.path, "bs=64K", "conv=notrunc",
              fmt::format("seek={}B", image.root.begin), "oflag=seek_bytes"});
}

std::string root_digest(const ScratchFolder& folder, const DiskImage& image, const std::string& disk) {
    const std::string root = folder.file("root.img");
    extract_range(disk, image.root, root);
    must_run({"e2fsck", "-fn", root});
    return ext_tree_digest(folder, root);
}

bool file_contains(const std::string& path, const std::string& text) {
    const RunResult result = run_program({"grep", "-a", "-q", "-F", text, path});
    if (result.status > 1) throw_error(Code::kInternal, "grep: {}", result.complaint());
    return result.status == 0;
}

}  // namespace dupengine::test
