#include "bootloader_hooks/media/machine_drivers.h"

#include <algorithm>
#include <array>
#include <filesystem>
#include <set>
#include <sstream>

#include "base/fd.h"
#include "base/subprocess.h"

namespace dupengine::boot {
namespace {

namespace fs = std::filesystem;

// How the kernel asks for the driver of a device (MODALIAS).
std::set<std::string> find_aliases(const std::string& sys) {
    constexpr std::size_t kLongest = 4096;
    std::set<std::string> aliases;
    std::error_code error;
    for (fs::recursive_directory_iterator
             at(sys + "/devices", fs::directory_options::skip_permission_denied, error),
         end;
         at != end; at.increment(error)) {
        if (error) break;
        if (at->path().filename() != "modalias") continue;
        try {
            std::string alias = read_file(at->path().string(), Code::kUnsupported, kLongest);
            while (alias.ends_with('\n'))
                alias.pop_back();
            if (!alias.empty()) aliases.insert(alias);
        } catch (const Error&) {
            continue;  // a device that went away
        }
    }
    return aliases;
}

std::set<std::string> lines_of(const std::string& text) {
    std::set<std::string> lines;
    std::istringstream stream(text);
    for (std::string line; std::getline(stream, line);)
        lines.insert(line);
    return lines;
}

// Of all at once; what has no module is passed over.
std::set<std::string> ask(std::vector<std::string> argv, const std::set<std::string>& arguments) {
    argv.insert(argv.end(), arguments.begin(), arguments.end());
    return lines_of(run_program(argv).out);
}

bool is_of_use(const std::string& path) {
    static constexpr std::array<std::string_view, 3> kUnused = {"/drivers/gpu/", "/drivers/media/",
                                                                "/kernel/sound/"};
    return path.starts_with('/') && std::ranges::none_of(kUnused, [&](std::string_view folder) {
               return path.find(folder) != std::string::npos;
           });
}

}  // namespace

std::vector<std::string> find_machine_drivers(const std::string& version, const std::string& sys) {
    if (!program_exists("modprobe"))
        throw_error(Code::kUnsupported, "modprobe is not installed: apt install kmod");
    const auto aliases = find_aliases(sys);
    std::vector<std::string> drivers;
    if (!aliases.empty()) {
        const auto names = ask({"modprobe", "-q", "-a", "-R", "-S", version, "--"}, aliases);
        for (const std::string& path : ask({"modinfo", "-k", version, "-F", "filename", "--"}, names))
            if (is_of_use(path)) {
                const std::string file = fs::path(path).filename().string();
                drivers.push_back(file.substr(0, file.find('.')));
            }
    }
    if (drivers.empty())
        throw_error(Code::kUnsupported,
                    "no device of this machine asks for a module of kernel {}; without --drivers=this all go "
                    "in",
                    version);
    return drivers;
}

}  // namespace dupengine::boot
