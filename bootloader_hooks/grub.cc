#include "bootloader_hooks/grub.h"

#include <filesystem>

#include "base/fd.h"
#include "base/subprocess.h"
#include "bootloader_hooks/dupengine_efi.h"
#include "bootloader_hooks/grub_environment.h"
#include "bootloader_hooks/grub_script.h"

namespace dupengine::boot {
namespace {

namespace fs = std::filesystem;

constexpr const char* kFolder = "/boot/grub";
constexpr const char* kOnceVariable = "next_entry";

std::string files_folder(const std::string& grub) {
    return fmt::format("{}/{}", grub, kGrubFiles);
}

std::string entries_file(const std::string& grub) {
    return fmt::format("{}/{}", files_folder(grub), kGrubEntries);
}

// What is linked elsewhere is replaced there. As readable as it was.
void replace(const std::string& path, const std::string& content) {
    std::error_code error;
    const fs::path place = fs::exists(path, error) ? fs::canonical(path) : fs::path(path);
    const auto mode = fs::exists(place, error) ? fs::status(place).permissions() : fs::perms{0644};
    write_file_atomic(place, as_bytes(content), static_cast<unsigned>(mode), Code::kTargetIo);
}

// What was cut while a file was replaced.
void delete_leftovers(const std::string& path) {
    std::error_code error;
    const fs::path place = fs::exists(path, error) ? fs::canonical(path) : fs::path(path);
    std::vector<fs::path> found;
    for (const auto& file : fs::directory_iterator(place.parent_path(), error))
        if (file.path().filename().string().starts_with(place.filename().string() + ".dupengine-"))
            found.push_back(file.path());
    for (const fs::path& file : found)
        fs::remove(file, error);
}

void remove_file(const std::string& path) {
    std::error_code error;
    if (!fs::remove(path, error) && error)
        throw_errno(Code::kTargetIo, error.value(), "{}: cannot be deleted", path);
}

// GRUB's own opinion, where it is installed; what it would stumble over does not get into its place.
void check_script(const std::string& text, const std::string& of) {
    if (!program_exists("grub-script-check")) return;
    const RunResult result = run_program({"grub-script-check", "/dev/stdin"}, {.input = text});
    if (result.status != 0)
        throw_error(Code::kRefused, "{}: GRUB would not read it: {}", of, result.complaint());
}

class Grub final : public Loader {
  public:
    explicit Grub(const Places& places)
        : root_(places.root), grub_(root_ + kFolder), configuration_(grub_ + "/grub.cfg") {
        if (!has_grub(places))
            throw_error(Code::kRefused, "{}: not there, so GRUB does not start this system", configuration_);
    }

    std::string_view name() const override { return kGrubName; }
    std::string_view usual() const override { return "what /etc/default/grub says"; }
    LoaderState look() const override;
    void install(const SmallSystem& system) override;
    void remove() override;
    void choose_once(const std::optional<std::string>& choice) override {
        set_variable(kOnceVariable, id_of(choice));
    }
    void choose_default(const std::optional<std::string>& choice) override {
        set_variable(kGrubDefault, id_of(choice));
    }
    void set_tries(unsigned tries) override;
    std::optional<std::string> confirm() override;

  private:
    std::string environment() const;
    void set_variable(std::string_view name, const std::optional<std::string>& value);
    std::optional<std::string> id_of(const std::optional<std::string>& choice) const;
    std::string generator() const { return fmt::format("{}/etc/grub.d/{}", root_, kGeneratorName); }
    std::string environment_file() const { return grub_ + "/grubenv"; }

    const std::string root_, grub_, configuration_;
};

std::optional<std::string> word_of(std::optional<std::string> id) {
    if (id && id->empty()) return std::nullopt;
    return id && id->starts_with(kGrubIdPrefix) ? id->substr(kGrubIdPrefix.size()) : id;
}

LoaderState Grub::look() const {
    LoaderState state;
    std::error_code error;
    // It tells the kernel which file it was; its version it tells nobody.
    if (root_.empty() && fs::exists("/proc/cmdline", error) &&
        read_file("/proc/cmdline", Code::kSourceIo).starts_with("BOOT_IMAGE="))
        state.started_by = "";
    const std::string block = environment();
    state.once = word_of(grub_variable(block, kOnceVariable));
    state.by_default = word_of(grub_variable(block, kGrubDefault));
    state.tries = grub_variable(block, kGrubTries);
    state.has_small_system = fs::exists(entries_file(grub_));
    return state;
}

void Grub::install(const SmallSystem& system) {
    const std::vector<SmallEntry> entries = entries_of(system);
    if (!fs::is_directory(root_ + "/etc/grub.d"))
        throw_error(Code::kRefused, "{}/etc/grub.d: not there, so grub.cfg is not made of it", root_);
    const std::string before = read_file(configuration_, Code::kSourceIo);
    const std::string after = with_entries_read(before);
    check_script(after, configuration_);
    check_script(grub_entries(entries, {"linux", "initrd"}), entries_file(grub_));

    const StoredSystem files = store_system(system, files_folder(grub_));
    write_file_atomic(entries_file(grub_), as_bytes(grub_entries(entries, files)), 0600, Code::kTargetIo);
    write_file_atomic(generator(), as_bytes(grub_generator()), 0755, Code::kTargetIo);
    // From here on GRUB reads them.
    if (after != before) replace(configuration_, after);
    delete_others(files_folder(grub_), {files.kernel, files.initrd, std::string(kGrubEntries)});
    delete_leftovers(generator());
    delete_leftovers(configuration_);
}

void Grub::remove() {
    const LoaderState state = look();
    if (state.once == kRecovery || state.once == kDuplicate) choose_once(std::nullopt);
    if (state.by_default) choose_default(std::nullopt);
    if (state.tries) confirm();
    const std::string before = read_file(configuration_, Code::kSourceIo);
    const std::string after = without_entries_read(before);
    if (after != before) replace(configuration_, after);
    remove_file(generator());
    delete_leftovers(generator());
    delete_leftovers(configuration_);
    delete_leftovers(environment_file());
    // The entries first: what they name has to be there as long as they are.
    remove_file(entries_file(grub_));
    delete_others(files_folder(grub_), {});
    std::error_code error;
    fs::remove(files_folder(grub_), error);
}

std::string Grub::environment() const {
    if (!fs::exists(environment_file())) return empty_grub_environment();
    return read_file(environment_file(), Code::kSourceIo);
}

void Grub::set_variable(std::string_view name, const std::optional<std::string>& value) {
    const std::string before = environment();
    std::string after;
    try {
        after = with_grub_variable(before, name, value);
    } catch (Error& e) {
        e.add_context(environment_file());
        throw;
    }
    if (after != before) replace(environment_file(), after);
}

std::optional<std::string> Grub::id_of(const std::optional<std::string>& choice) const {
    if (!choice) return std::nullopt;
    if (*choice != kRecovery && *choice != kDuplicate)
        throw_error(Code::kUsage, "'{}' is none of {}, {}, which GRUB has entries for", *choice, kRecovery,
                    kDuplicate);
    const std::string id = std::string(kGrubIdPrefix) + *choice;
    if (!grub_has_entries({root_, {}, {}}) ||
        read_file(entries_file(grub_), Code::kSourceIo).find("--id " + id + " ") == std::string::npos)
        throw_error(Code::kRefused, "GRUB has no entry for {}; dupengine boot install makes it", *choice);
    return id;
}

void Grub::set_tries(unsigned tries) {
    check_tries(tries, kMostGrubTries);
    if (!grub_has_entries({root_, {}, {}}))
        throw_error(Code::kRefused,
                    "GRUB does not count by itself; dupengine boot install makes the entries that do");
    set_variable(kGrubTries, std::to_string(tries));
}

std::optional<std::string> Grub::confirm() {
    const auto tries = grub_variable(environment(), kGrubTries);
    if (tries) set_variable(kGrubTries, std::nullopt);
    return tries;
}

}  // namespace

bool has_grub(const Places& places) {
    std::error_code error;
    return fs::exists(places.root + kFolder + "/grub.cfg", error);
}

bool grub_has_entries(const Places& places) {
    std::error_code error;
    return fs::exists(entries_file(places.root + kFolder), error);
}

std::unique_ptr<Loader> make_grub(const Places& places) {
    return std::make_unique<Grub>(places);
}

}  // namespace dupengine::boot
