#include "tests/support/golden_disk.h"

#include <fmt/format.h>

#include <filesystem>

#include "base/fd.h"
#include "block/open.h"
#include "codec/digest.h"
#include "profiles/references/cpio.h"
#include "tests/support/fake_system.h"

namespace dupengine::test {
namespace {

namespace fs = std::filesystem;

void put(const std::string& root, const std::string& path, const std::string& text, unsigned mode = 0644) {
    fs::create_directories(fs::path(root + path).parent_path());
    write_file_atomic(root + path, as_bytes(text), mode, Code::kInternal);
}

std::string initramfs() {
    std::string filler;
    for (unsigned i = 0; i < 300'000; ++i)
        filler += static_cast<char>(i * i % 253);
    RunOptions options;
    options.input = profiles::encode_cpio(
        {{"conf/conf.d/zz-resume-auto", 0100644, 0, 0, 0, "RESUME=UUID=" + kGoldenSwap + "\n"},
         {"init", 0100755, 0, 0, 0, filler}});
    const std::string main = must_run({"zstd", "-q", "-c"}, options);
    return profiles::encode_cpio({{"kernel/x86/microcode/GenuineIntel.bin", 0100644, 0, 0, 0, "microcode"}}) +
           main;
}

void fill_root(const std::string& root, unsigned extra_files) {
    put(root, "/etc/os-release", "ID=debian\n");
    put(root, "/etc/hostname", "golden\n");
    put(root, "/etc/hosts", "127.0.0.1 localhost\n127.0.1.1 golden\n");
    put(root, "/etc/machine-id", kGoldenMachine + "\n", 0444);
    put(root, "/etc/passwd", "root:x:0:0:root:/root:/bin/sh\nops:x:1000:1001::/home/ops:/bin/sh\n");
    put(root, "/etc/fstab",
        fmt::format("UUID={} / ext4 errors=remount-ro 0 1\nUUID={} /boot/efi vfat umask=0077 0 1\nUUID={} "
                    "none swap sw 0 0\n",
                    kGoldenRoot, kGoldenEsp, kGoldenSwap));
    put(root, "/etc/initramfs-tools/conf.d/resume", "RESUME=UUID=" + kGoldenSwap + "\n");
    put(root, "/etc/kernel/cmdline", "root=UUID=" + kGoldenRoot + " ro\n");
    put(root, "/etc/ssh/ssh_host_rsa_key", "the source's\n", 0600);
    put(root, "/var/lib/systemd/random-seed", std::string(512, 's'), 0600);
    put(root, "/lib/systemd/system/web.service",
        "[Service]\nExecStart=/bin/true\n[Install]\nWantedBy=multi-user.target\n");
    fs::create_directories(root + "/home/ops");
    fs::create_directories(root + "/boot/efi");
    fs::create_directories(root + "/root");
    for (unsigned i = 0; i < extra_files; ++i)
        put(root, fmt::format("/srv/data/{}/{}", i % 17, i),
            std::string(i % 9000, static_cast<char>('a' + i % 26)));
}

void fill_esp(const ScratchFolder& folder, const std::string& image, const std::string& initrd) {
    const std::string tree = folder.file("esp-tree");
    put(tree, "/EFI/BOOT/BOOTX64.EFI", std::string("MZ\0loader", 9));
    put(tree, "/loader/loader.conf", "default " + kGoldenMachine + "-*\n");
    put(tree, "/loader/random-seed", std::string(32, 's'));
    put(tree, "/loader/entries/" + kGoldenMachine + "-6.1.conf",
        fmt::format("title Debian\nmachine-id {0}\nlinux /{0}/6.1/linux\ninitrd /{0}/6.1/initrd.img\noptions "
                    "root=UUID={1} resume=UUID={2}\n",
                    kGoldenMachine, kGoldenRoot, kGoldenSwap));
    put(tree, "/" + kGoldenMachine + "/6.1/linux", std::string("MZ\0kernel", 9));
    put(tree, "/" + kGoldenMachine + "/6.1/initrd.img", initrd);
    for (const auto& entry : fs::directory_iterator(tree))
        must_run({"mcopy", "-s", "-i", image, entry.path().string(), "::/"});
    fs::remove_all(tree);
}

block::Extent place_of(const GoldenDisk& disk, unsigned number, std::uint32_t sector_bytes) {
    const LoopDevice loop(disk.path, {.sector_bytes = sector_bytes});
    const std::string text = must_run({"sgdisk", "-i", std::to_string(number), loop.path()});
    const auto value = [&](const std::string& key) {
        return std::stoull(text.substr(text.find(key) + key.size()));
    };
    return {value("First sector: ") * sector_bytes, (value("Last sector: ") + 1) * sector_bytes};
}

// Copies a file's bytes into the disk at a place; holes stay holes.
void lay(const std::string& file, const std::string& disk, block::Extent place) {
    must_run({"dd", "if=" + file, "of=" + disk, "bs=1M", fmt::format("seek={}", place.begin >> 20),
              "conv=notrunc,sparse", "status=none"});
    fs::remove(file);
}

// FAT32 needs 65525 clusters, and a cluster is at least a sector.
void make_table(const std::string& path, std::uint32_t sector_bytes) {
    const LoopDevice loop(path, {.sector_bytes = sector_bytes});
    must_run({"sgdisk",
              "-a",
              std::to_string((1 << 20) / sector_bytes),
              "-n",
              sector_bytes == 512 ? "1:1M:+40M" : "1:1M:+300M",
              "-t",
              "1:ef00",
              "-n",
              "2:0:+8M",
              "-t",
              "2:8200",
              "-n",
              "3:0:-8M",
              "-t",
              "3:8304",
              "-u",
              "3:" + kGoldenRootPart,
              "-U",
              kGoldenDisk,
              loop.path()});
}

std::string sgdisk_line(const GoldenDisk& disk, const std::vector<std::string>& words,
                        const std::string& key) {
    std::vector<std::string> argv = {"sgdisk"};
    argv.insert(argv.end(), words.begin(), words.end());
    argv.push_back(disk.path);
    const std::string text = must_run(argv);
    const std::size_t at = text.find(key);
    return at == std::string::npos ? "" : text.substr(at + key.size(), 36);
}

}  // namespace

GoldenDisk make_golden_disk(const ScratchFolder& folder, const std::string& name,
                            const GoldenRecipe& recipe) {
    GoldenDisk disk{folder.sparse_file(name, recipe.size_bytes), {}, {}, {}, {}, initramfs()};
    make_table(disk.path, recipe.sector_bytes);
    disk.esp = place_of(disk, 1, recipe.sector_bytes);
    disk.swap = place_of(disk, 2, recipe.sector_bytes);
    disk.root = place_of(disk, 3, recipe.sector_bytes);

    const std::string esp = folder.sparse_file("esp.img", disk.esp.size());
    must_run({"mkfs.fat", "-F", "32", "-S", std::to_string(recipe.sector_bytes), "-s", "1", "-i", "c0de0001",
              esp});
    fill_esp(folder, esp, disk.initrd);
    lay(esp, disk.path, disk.esp);

    const std::string swap = folder.sparse_file("swap.img", disk.swap.size());
    must_run({"mkswap", "-q", "-U", kGoldenSwap, swap});
    lay(swap, disk.path, disk.swap);

    const std::string tree = folder.file("root-tree"),
                      root = folder.sparse_file("root.img", disk.root.size());
    fill_root(tree, recipe.extra_files);
    for (const auto& [path, text] : recipe.files)
        put(tree, path, text);
    must_run({"mke2fs", "-q", "-t", "ext4", "-b", "4096", "-U", kGoldenRoot, "-d", tree, root});
    fs::remove_all(tree);
    lay(root, disk.path, disk.root);
    return disk;
}

std::string probed(const std::string& disk, block::Extent part, const std::string& tag) {
    std::string text = must_run({"blkid", "-p", "-O", std::to_string(part.begin), "-S",
                                 std::to_string(part.size()), "-s", tag, "-o", "value", disk});
    while (!text.empty() && text.back() == '\n')
        text.pop_back();
    return text;
}

std::string root_file(const GoldenDisk& disk, const std::string& path) {
    return must_run(
        {"debugfs", "-R", "cat " + path, fmt::format("{}?offset={}", disk.path, disk.root.begin)});
}

std::string esp_file(const GoldenDisk& disk, const std::string& path) {
    return must_run({"mtype", "-i", fmt::format("{}@@{}", disk.path, disk.esp.begin), "::" + path});
}

std::string disk_guid(const GoldenDisk& disk) {
    return sgdisk_line(disk, {"-p"}, "Disk identifier (GUID): ");
}

std::string partition_guid(const GoldenDisk& disk, unsigned number) {
    return sgdisk_line(disk, {"-i", std::to_string(number)}, "Partition unique GUID: ");
}

std::string range_sha256(const std::string& path, block::Extent range) {
    return to_hex(codec::sha256_of(*block::open_source(path), range));
}

}  // namespace dupengine::test
