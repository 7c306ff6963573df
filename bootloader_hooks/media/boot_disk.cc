#include "bootloader_hooks/media/boot_disk.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>

#include "base/fd.h"
#include "bootloader_hooks/media/boot_words.h"
#include "bootloader_hooks/media/fat_files.h"
#include "bootloader_hooks/media/grub_image.h"
#include "layout/partition_table.h"

namespace dupengine::boot {
namespace {

namespace fs = std::filesystem;
using layout::PartitionTable;

constexpr std::uint32_t kSectorBytes = 512;
constexpr std::uint64_t kGrubBegin = kMiB, kSystemBegin = 2 * kMiB;
// What FAT32 needs to be that, and room for what its tables and rounding take.
constexpr std::uint64_t kLeastSystem = 64 * kMiB, kRoom = 16 * kMiB;
// Behind the boot code are the disk's signature and its table.
constexpr std::size_t kBootCodeBytes = 440;
constexpr std::size_t kCorePlace = 0x5c, kCoreRest = 0x1f4;

std::uint64_t size_of(const std::string& file) {
    std::error_code error;
    const std::uint64_t size = fs::file_size(file, error);
    if (error) throw_error(Code::kUsage, "{}: {}", file, error.message());
    return size;
}

PartitionTable table_of(std::uint64_t system_end, RandomSource& random) {
    PartitionTable table;
    table.kind = layout::TableKind::kGpt;
    table.sector_bytes = kSectorBytes;
    table.disk_guid = random.guid();
    table.first_usable_lba = 34;
    const auto add = [&](block::Extent extent, const Guid& type, const char* name) {
        layout::Partition& partition = table.partitions.emplace_back();
        partition.number = static_cast<unsigned>(table.partitions.size());
        partition.extent = extent;
        partition.type_guid = type;
        partition.guid = random.guid();
        partition.name = name;
    };
    add({kGrubBegin, kSystemBegin}, layout::type_guid::kBiosBoot, "BIOS boot");
    add({kSystemBegin, system_end}, layout::type_guid::kEfiSystem, "dupengine");
    return table;
}

void write_at(const Fd& fd, const std::string& path, ByteOffset offset, std::span<const std::byte> bytes) {
    pwrite_exact(fd.get(), offset, bytes, Code::kTargetIo, path);
}

}  // namespace

void check_boot_disk_programs() {
    check_grub({kGrubOfEfi, kGrubOfBios}, "a boot disk");
    check_fat_programs();
}

BiosGrub place_bios_grub(std::string_view boot_image, std::string_view core, std::uint64_t core_lba) {
    if (boot_image.size() != kSectorBytes || core.size() <= kSectorBytes ||
        core.size() > kSystemBegin - kGrubBegin)
        throw_error(Code::kInternal, "GRUB for BIOS has a boot sector of {} bytes and {} bytes behind it",
                    boot_image.size(), core.size());
    const auto bytes = [](std::string_view text) {
        return Bytes(as_bytes(text).begin(), as_bytes(text).end());
    };
    BiosGrub placed{bytes(boot_image.substr(0, kBootCodeBytes)), bytes(core)};
    store_le<std::uint64_t>(placed.boot_code, kCorePlace, core_lba);
    store_le<std::uint64_t>(placed.core, kCoreRest, core_lba + 1);
    return placed;
}

void make_boot_disk(const BootDisk& disk, const std::string& path, RandomSource& random,
                    const std::stop_token& stop) {
    check_boot_disk_programs();
    const std::string efi =
        make_grub_image(kGrubOfEfi, "/grub", {"part_gpt", "fat", "chain", "all_video"}, stop);
    std::uint64_t bytes = size_of(disk.linux_file) + size_of(disk.initramfs_file) + efi.size() + kRoom;
    if (!disk.efi_application.empty()) bytes += size_of(disk.efi_application);
    bytes = std::max(align_up(bytes, kMiB), kLeastSystem);
    const std::uint64_t disk_bytes = kSystemBegin + bytes + kMiB;

    const Fd fd = open_path(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, Code::kTargetIo);
    if (::ftruncate(fd.get(), static_cast<off_t>(disk_bytes)) != 0)
        throw_errno(Code::kTargetIo, errno, "{}", path);
    FatFiles system({path, kSystemBegin, bytes, 32, "DUPENGINE"}, stop);
    for (const char* folder : {"/EFI", "/EFI/BOOT", "/grub"})
        system.folder(folder);
    system.content("/EFI/BOOT/BOOTX64.EFI", efi);
    system.file("/linux", disk.linux_file);
    system.file("/initramfs", disk.initramfs_file);
    std::string menu = grub_menu(disk.command_line, "/linux", "/initramfs");
    if (!disk.efi_application.empty()) {
        system.folder("/EFI/dupengine");
        system.file("/EFI/dupengine/dupengine.efi", disk.efi_application);
        menu += grub_efi_entry("/EFI/dupengine/dupengine.efi");
    }
    system.content("/grub/grub.cfg", menu);

    const BiosGrub bios =
        place_bios_grub(read_file(std::string(kGrubOfBios.modules) + "/boot.img", Code::kInternal),
                        make_grub_image(kGrubOfBios, "(,gpt2)/grub", {"biosdisk", "part_gpt", "fat"}, stop),
                        kGrubBegin / kSectorBytes);
    write_at(fd, path, kGrubBegin, bios.core);
    PartitionTable table = table_of(kSystemBegin + bytes, random);
    const layout::TableImage image = layout::encode_table(table, disk_bytes);
    for (const auto* copy : {&image.backup, &image.primary})
        for (const auto& piece : *copy)
            write_at(fd, path, piece.offset, piece.content);
    // Last: what it starts is there.
    write_at(fd, path, 0, bios.boot_code);
}

}  // namespace dupengine::boot
