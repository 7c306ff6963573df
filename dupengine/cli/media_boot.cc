// dupengine media esp, iso: a stick or a CD that starts machines with UEFI or a BIOS, or the image of one.

#include <fcntl.h>
#include <sys/stat.h>

#include <filesystem>

#include "base/fd.h"
#include "base/units.h"
#include "bootloader_hooks/media/boot_cd.h"
#include "bootloader_hooks/media/work_folder.h"
#include "cli/copy_arguments.h"
#include "cli/interrupt.h"
#include "cli/media_options.h"
#include "image/new_file.h"
#include "layout/in_use.h"

namespace dupengine::cli {
namespace {

namespace fs = std::filesystem;

// What is in `made`, a raw image, in its place: whole or not at all.
void put_in_place(const std::string& made, const std::string& path, bool is_secret) {
    if (is_secret) ::umask(0077);  // which the new file's mode is made of
    const Fd fd = open_path(made, O_RDONLY | O_CLOEXEC, Code::kTargetIo);
    image::NewFile file(path);
    Bytes piece(kMiB);
    for (std::uint64_t left = fs::file_size(made), at = 0; left > 0; left -= piece.size()) {
        piece.resize(std::min<std::uint64_t>(left, kMiB));
        pread_exact(fd.get(), at, piece, Code::kTargetIo, made);
        file.append(piece);
        at += piece.size();
    }
    file.commit();
}

// What a copy would refuse is known before the stick is made, which takes a while.
void refuse_in_use(const std::string& disk) {
    for (const layout::Use& use : layout::find_uses(disk))
        throw_error(Code::kRefused, "{}: in use: {}: {}", disk, use.device, use.detail);
}

// As any copy: the plan drawn, asked for, through the guard, read back.
int put_on_stick(const std::string& made, const std::string& disk, const Globals& globals) {
    CopyArguments arguments;
    arguments.source = made;
    arguments.target = disk;
    return run_copy(arguments, globals);
}

void warn_of_key(const std::string& output) {
    warn_of_secret(
        fmt::format("{}: holds the secret key of an enrolment; keep it, and the stick, like a key", output));
}

using Make = void (*)(const boot::BootDisk& disk, const std::string& path, RandomSource& random,
                      const std::stop_token& stop);

boot::BootDisk look_at(const MediaOptions& options) {
    boot::BootDisk disk;
    disk.command_line = boot::kernel_command_line(options.words);
    disk.efi_application = options.efi_application;
    check_efi_application(options);
    return disk;
}

// As the file "disk" in the work folder. Returns what its menu starts.
Started make_in(const TemporaryFolder& work, const MediaOptions& options, boot::BootDisk disk, Make make) {
    const InterruptWatch interrupt;
    Started started = find_started(options, interrupt.token());
    disk.linux_file = started.linux_file;
    disk.initramfs_file = work.file("initramfs");
    write_file_atomic(disk.initramfs_file, as_bytes(started.system.content), 0600, Code::kTargetIo);
    SystemRandom random;
    make(disk, work.file("disk"), random, interrupt.token());
    if (started.system.is_secret) warn_of_key(options.output);
    return started;
}

int print_image(const Globals& globals, const MediaOptions& options, const boot::BootDisk& disk,
                const Started& started, const std::string& use) {
    const std::uint64_t bytes = fs::file_size(options.output);
    print_made(
        globals,
        {{"result", "ok"},
         {"file", options.output},
         {"bytes", bytes},
         {"command_line", disk.command_line},
         {"dupengine_efi", !disk.efi_application.empty()},
         {"initramfs", system_json(started.system)}},
        fmt::format("made {}, {}, for UEFI and BIOS; the small system: {}\nkernel command line: {}{}",
                    options.output, format_size(bytes), system_text(started.system), disk.command_line, use));
    return 0;
}

}  // namespace

int run_esp(const Globals& globals, const MediaOptions& options) {
    const bool is_stick = fs::is_block_file(options.output);
    if (is_stick)
        refuse_in_use(options.output);
    else
        check_is_file(options.output);
    if (globals.dry_run && !is_stick)
        throw_error(Code::kUsage, "--dry-run is of a stick; {} is a file", options.output);
    const boot::BootDisk disk = look_at(options);
    boot::check_boot_disk_programs();
    const TemporaryFolder work = boot::work_folder();
    const Started started = make_in(work, options, disk, boot::make_boot_disk);
    if (is_stick) return put_on_stick(work.file("disk"), options.output, globals);
    put_in_place(work.file("disk"), options.output, started.system.is_secret);
    return print_image(globals, options, disk, started,
                       fmt::format("\nput it on a stick:  dupengine copy {} /dev/DISK", options.output));
}

int run_iso(const Globals& globals, const MediaOptions& options) {
    check_is_file(options.output);
    const boot::BootDisk disk = look_at(options);
    boot::check_boot_cd_programs();
    const TemporaryFolder work = boot::work_folder();
    const Started started = make_in(work, options, disk, boot::make_boot_cd);
    put_in_place(work.file("disk"), options.output, started.system.is_secret);
    return print_image(globals, options, disk, started, "");
}

}  // namespace dupengine::cli
