#include "bootloader_hooks/media/fat_files.h"

#include "base/bytes.h"
#include "base/error.h"
#include "base/subprocess.h"

namespace dupengine::boot {

void check_fat_programs() {
    std::string missing;
    if (!program_exists("mkfs.vfat")) missing += " dosfstools";
    if (!program_exists("mcopy") || !program_exists("mmd")) missing += " mtools";
    if (!missing.empty())
        throw_error(Code::kUnsupported, "what makes a FAT filesystem is not installed: apt install{}",
                    missing);
}

FatFiles::FatFiles(Place place, std::stop_token stop) : place_(std::move(place)), stop_(std::move(stop)) {
    constexpr std::uint64_t kSectorBytes = 512;
    std::vector<std::string> argv = {"mkfs.vfat", "-n", place_.label, "--offset",
                                     std::to_string(place_.begin_bytes / kSectorBytes)};
    if (place_.bits != 0) argv.insert(argv.end(), {"-F", std::to_string(place_.bits)});
    argv.insert(argv.end(), {place_.path, std::to_string(place_.bytes / kKiB)});
    run(argv);
}

std::string FatFiles::image() const {
    return fmt::format("{}@@{}", place_.path, place_.begin_bytes);
}

void FatFiles::folder(const std::string& path) const {
    run({"mmd", "-i", image(), "::" + path});
}

void FatFiles::file(const std::string& path, const std::string& content_of) const {
    run({"mcopy", "-i", image(), content_of, "::" + path});
}

void FatFiles::content(const std::string& path, std::string content) const {
    run({"mcopy", "-i", image(), "-", "::" + path}, std::move(content));
}

void FatFiles::run(const std::vector<std::string>& argv, std::string input) const {
    const RunResult result = run_program(argv, {.input = std::move(input), .stop = stop_});
    if (result.status != 0) throw_error(Code::kTargetIo, "{} failed: {}", argv.front(), result.complaint());
}

}  // namespace dupengine::boot
