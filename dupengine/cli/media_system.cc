// The small system of `dupengine media`: made, or taken as it was made before; media initramfs.

#include <filesystem>

#include "base/fd.h"
#include "base/units.h"
#include "cli/created_file.h"
#include "cli/interrupt.h"
#include "cli/media_options.h"

namespace dupengine::cli {
namespace {

namespace fs = std::filesystem;
using nlohmann::ordered_json;

constexpr std::size_t kLargestInitramfs = 2 * kGiB;

bool is_made_before(const MediaOptions& options) {
    if (options.initramfs.empty() != options.linux_file.empty())
        throw_error(Code::kUsage,
                    "--initramfs and --linux belong together: a kernel takes only its own modules");
    if (options.initramfs.empty()) return false;
    const boot::InitramfsOptions& system = options.system;
    if (!system.trusted.empty() || !system.ca_file.empty() || !system.enrolment.empty() ||
        !system.profile.empty() || system.only_this_machine)
        throw_error(Code::kUsage,
                    "what --initramfs names is taken as it is; give --trust, --ca-file, "
                    "--enrolment, --profile and --drivers to dupengine media initramfs");
    return true;
}

boot::Initramfs take_or_make(const MediaOptions& options, bool made_before, const std::stop_token& stop) {
    if (!made_before) return boot::make_initramfs(options.system, stop);
    try {
        return boot::check_initramfs(read_file(options.initramfs, Code::kUsage, kLargestInitramfs));
    } catch (Error& e) {
        e.add_context(options.initramfs);
        throw;
    }
}

}  // namespace

Started find_started(const MediaOptions& options, const std::stop_token& stop) {
    const bool made_before = is_made_before(options);
    Started started{made_before ? options.linux_file : "/boot/vmlinuz-" + options.system.kernel, {}};
    if (!fs::is_regular_file(started.linux_file))
        throw_error(Code::kUsage, "{}: there is no such kernel; --kernel or --linux names another",
                    started.linux_file);
    started.system = take_or_make(options, made_before, stop);
    boot::check_can_start(started.system, read_file(started.linux_file, Code::kUsage), started.linux_file,
                          options.words);
    return started;
}

void check_efi_application(const MediaOptions& options) {
    if (!options.efi_application.empty() && !fs::is_regular_file(options.efi_application))
        throw_error(Code::kUsage, "{}: there is no such file", options.efi_application);
}

void warn_of_secret(const std::string& line) {
    fmt::print(stderr, "dupengine: {}\n", line);
}

ordered_json system_json(const boot::Initramfs& system) {
    return {{"bytes", system.content.size()},
            {"modules", system.modules},
            {"added", system.added},
            {"secret", system.is_secret}};
}

std::string system_text(const boot::Initramfs& system) {
    std::string text =
        fmt::format("{}, {} kernel modules", format_size(system.content.size()), system.modules);
    for (const std::string& path : system.added)
        text += "\n    /" + path;
    return text;
}

void print_made(const Globals& globals, const ordered_json& json, const std::string& text) {
    fmt::print("{}\n",
               globals.json ? json.dump(2, ' ', false, ordered_json::error_handler_t::replace) : text);
}

void check_is_file(const std::string& path) {
    if (!fs::exists(path)) return refuse_place_in_dev(path);
    if (!fs::is_regular_file(path))
        throw_error(Code::kRefused, "{}: is not a file; name one that does not exist", path);
}

int run_initramfs(const Globals& globals, const MediaOptions& options) {
    check_is_file(options.output);
    const InterruptWatch interrupt;
    const boot::Initramfs system = boot::make_initramfs(options.system, interrupt.token());
    write_file_atomic(options.output, as_bytes(system.content), system.is_secret ? 0600 : 0644,
                      Code::kTargetIo);
    if (system.is_secret)
        warn_of_secret(
            fmt::format("{}: holds the secret key of an enrolment; keep it like a key", options.output));
    ordered_json json = {{"result", "ok"}, {"file", options.output}, {"kernel", options.system.kernel}};
    json.update(system_json(system));
    print_made(
        globals, json,
        fmt::format("made {} for kernel {}: {}", options.output, options.system.kernel, system_text(system)));
    return 0;
}

}  // namespace dupengine::cli
