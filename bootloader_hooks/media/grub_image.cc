#include "bootloader_hooks/media/grub_image.h"

#include <filesystem>

#include "base/fd.h"
#include "base/subprocess.h"
#include "bootloader_hooks/media/work_folder.h"

namespace dupengine::boot {

void check_grub(const std::vector<GrubPlatform>& platforms, const std::string& use) {
    std::string missing;
    if (!program_exists("grub-mkimage")) missing += " grub-common";
    for (const GrubPlatform& platform : platforms)
        if (!std::filesystem::exists(std::string(platform.modules) + "/moddep.lst"))
            missing += std::string(" ") + platform.package;
    if (!missing.empty())
        throw_error(Code::kUnsupported, "GRUB for {} is not installed: apt install{}", use, missing);
}

std::string make_grub_image(const GrubPlatform& platform, const std::string& menu_folder,
                            const std::vector<std::string>& drivers, const std::stop_token& stop) {
    const TemporaryFolder work = work_folder();
    const std::string made = work.file("grub");
    std::vector<std::string> argv = {
        "grub-mkimage", "--format",  platform.format, "--directory", platform.modules,
        "--prefix",     menu_folder, "--output",      made,          "normal",
        "test",         "tr",        "linux",         "echo",        "reboot",
        "halt"};
    argv.insert(argv.end(), drivers.begin(), drivers.end());
    const RunResult result = run_program(argv, {.stop = stop});
    if (result.status != 0)
        throw_error(Code::kInternal, "grub-mkimage for {} failed: {}", platform.format, result.complaint());
    return read_file(made, Code::kTargetIo);
}

}  // namespace dupengine::boot
