#include "bootloader_hooks/media/boot_cd.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>

#include "base/fd.h"
#include "base/subprocess.h"
#include "bootloader_hooks/media/boot_words.h"
#include "bootloader_hooks/media/fat_files.h"
#include "bootloader_hooks/media/grub_image.h"
#include "bootloader_hooks/media/work_folder.h"

namespace dupengine::boot {
namespace {

namespace fs = std::filesystem;

// Beside GRUB, what the tables of the filesystem take.
constexpr std::uint64_t kRoom = kMiB;

void put(const std::string& path, std::string_view content) {
    write_file_atomic(path, as_bytes(content), 0644, Code::kTargetIo);
}

void copy(const std::string& from, const std::string& to) {
    std::error_code error;
    if (!fs::copy_file(from, to, error)) throw_error(Code::kUsage, "{}: {}", from, error.message());
    fs::permissions(to, fs::perms(0644));
}

// Firmware shows GRUB this filesystem only; the CD is the drive that has the mark.
void make_efi_part(const std::string& path, const std::string& mark, const std::stop_token& stop) {
    const std::string grub = make_grub_image(
        kGrubOfEfi, "/grub",
        {"fat", "iso9660", "search", "search_fs_file", "configfile", "chain", "all_video"}, stop);
    const std::uint64_t bytes = align_up(grub.size() + kRoom, kMiB);
    const Fd fd = open_path(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, Code::kTargetIo);
    if (::ftruncate(fd.get(), static_cast<off_t>(bytes)) != 0)
        throw_errno(Code::kTargetIo, errno, "{}", path);
    const FatFiles files({path, 0, bytes, 0, "DUPENGINE"}, stop);
    for (const char* folder : {"/EFI", "/EFI/BOOT", "/grub"})
        files.folder(folder);
    files.content("/EFI/BOOT/BOOTX64.EFI", grub);
    files.content("/grub/grub.cfg",
                  fmt::format("search --no-floppy --set=root --file {}\nconfigfile /grub/grub.cfg\n", mark));
}

}  // namespace

void check_boot_cd_programs() {
    check_grub({kGrubOfEfi, kGrubOfCd}, "a boot CD");
    check_fat_programs();
    if (!program_exists("xorriso"))
        throw_error(Code::kUnsupported, "what makes a CD is not installed: apt install xorriso");
}

void make_boot_cd(const BootDisk& disk, const std::string& path, RandomSource& random,
                  const std::stop_token& stop) {
    check_boot_cd_programs();
    const TemporaryFolder work = work_folder();
    const std::string tree = work.file("tree");
    fs::create_directories(tree + "/grub");
    const std::string mark = "/grub/" + random.guid().text();
    put(tree + mark, "");
    copy(disk.linux_file, tree + "/linux");
    copy(disk.initramfs_file, tree + "/initramfs");
    std::string menu = grub_menu(disk.command_line, "/linux", "/initramfs");
    if (!disk.efi_application.empty()) {
        fs::create_directories(tree + "/EFI/dupengine");
        copy(disk.efi_application, tree + "/EFI/dupengine/dupengine.efi");
        menu += grub_efi_entry("/EFI/dupengine/dupengine.efi");
    }
    put(tree + "/grub/grub.cfg", menu);
    put(tree + "/bios.img", make_grub_image(kGrubOfCd, "/grub", {"biosdisk", "iso9660"}, stop));
    make_efi_part(tree + "/efi.img", mark, stop);
    const RunResult result = run_program({"xorriso",
                                          "-as",
                                          "mkisofs",
                                          "-quiet",
                                          "-R",
                                          "-V",
                                          "DUPENGINE",
                                          "-o",
                                          path,
                                          "-c",
                                          "boot.cat",
                                          "-b",
                                          "bios.img",
                                          "-no-emul-boot",
                                          "-boot-load-size",
                                          "4",
                                          "-boot-info-table",
                                          "-eltorito-alt-boot",
                                          "-e",
                                          "efi.img",
                                          "-no-emul-boot",
                                          tree},
                                         {.stop = stop});
    if (result.status != 0) throw_error(Code::kTargetIo, "xorriso failed: {}", result.complaint());
}

}  // namespace dupengine::boot
