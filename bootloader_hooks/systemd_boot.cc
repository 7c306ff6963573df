#include "bootloader_hooks/systemd_boot.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <filesystem>

#include "base/fd.h"
#include "bootloader_hooks/boot_entry.h"
#include "bootloader_hooks/dupengine_efi.h"
#include "image/new_file.h"

namespace dupengine::boot {
namespace {

namespace fs = std::filesystem;

constexpr const char* kFiles = "/dupengine";
constexpr const char* kEntries = "/loader/entries";
constexpr const char* kPrograms = "/EFI/Linux";
// It starts the first of its menu, and where entries have no other order the highest name is first. A hyphen
// is lower than letters and digits, and an underscore, which it passes over, keeps the name from looking like
// an option: ours is started if nothing else can be.
constexpr std::string_view kPrefix = "_-dupengine-";
constexpr const char* kInfo = "LoaderInfo";
constexpr const char* kOneShot = "LoaderEntryOneShot";
constexpr const char* kDefault = "LoaderEntryDefault";
constexpr const char* kSelected = "LoaderEntrySelected";

machine::EfiVariables variables_of(const Places& places) {
    return machine::EfiVariables(places.efivars, machine::kLoaderVendor);
}

// Its variables are UTF-16 with a zero at the end. What is not ASCII is no name of an entry of ours.
std::string wide(std::string_view text) {
    std::string bytes;
    for (const char c : text)
        bytes.append({c, '\0'});
    return bytes.append(2, '\0');
}

std::optional<std::string> read_wide(const machine::EfiVariables& variables, const char* name) {
    const auto bytes = variables.read(name);
    if (!bytes) return std::nullopt;
    std::string text;
    for (std::size_t i = 0; i + 1 < bytes->size(); i += 2) {
        if ((*bytes)[i] == '\0' && (*bytes)[i + 1] == '\0') break;
        text += (*bytes)[i + 1] == '\0' ? (*bytes)[i] : '?';
    }
    return text;
}

bool has_loader(const std::string& esp) {
    return fs::exists(esp + "/EFI/systemd/systemd-bootx64.efi") || fs::exists(esp + "/loader/loader.conf");
}

std::string find_esp(const Places& places) {
    // Where bootctl(1) looks.
    std::vector<std::string> folders = {places.root + "/efi", places.root + "/boot/efi",
                                        places.root + "/boot"};
    if (!places.esp.empty()) folders = {places.esp};
    for (const std::string& folder : folders)
        if (has_loader(folder)) return folder;
    throw_error(
        Code::kRefused,
        "{}: no systemd-boot is there; \"bootctl install\" puts it there, and --esp says where the EFI "
        "system partition is mounted",
        fmt::join(folders, ", "));
}

void rename_durably(const std::string& folder, const std::string& from, const std::string& to) {
    if (::renameat2(AT_FDCWD, (folder + "/" + from).c_str(), AT_FDCWD, (folder + "/" + to).c_str(),
                    RENAME_NOREPLACE) != 0)
        throw_errno(Code::kTargetIo, errno, "{}/{}: cannot be renamed to {}", folder, from, to);
    const Fd opened = open_path(folder, O_RDONLY | O_DIRECTORY, Code::kTargetIo);
    if (::fsync(opened.get()) != 0) throw_errno(Code::kTargetIo, errno, "{}: flush failed", folder);
}

/// The file of an entry, or a program that is one.
struct EntryFile {
    std::string folder, file;
    EntryName name;
};

class SystemdBoot final : public Loader {
  public:
    explicit SystemdBoot(const Places& places) : places_(places), esp_(find_esp(places)) {}

    std::string_view name() const override { return kSystemdBootName; }
    std::string_view usual() const override { return "what is first in its menu"; }
    LoaderState look() const override;
    void install(const SmallSystem& system) override;
    void remove() override;
    void choose_once(const std::optional<std::string>& choice) override { choose(kOneShot, choice); }
    void choose_default(const std::optional<std::string>& choice) override { choose(kDefault, choice); }
    void set_tries(unsigned tries) override;
    std::optional<std::string> confirm() override;

  private:
    std::string entry_path(const std::string& file) const { return esp_ + kEntries + "/" + file; }
    static std::string file_of(const std::string& word) { return std::string(kPrefix) + word + ".conf"; }
    void choose(const char* variable, const std::optional<std::string>& choice);
    std::optional<EntryFile> started_entry() const;
    void delete_entries(const std::vector<std::string>& keep) const;

    const Places places_;
    const std::string esp_;
};

// What the variables name, as the word of it if it is one of ours.
std::optional<std::string> word_of(std::optional<std::string> entry) {
    if (entry && entry->starts_with(kPrefix))
        return entry->substr(kPrefix.size(), entry->rfind('.') - kPrefix.size());
    return entry;
}

LoaderState SystemdBoot::look() const {
    LoaderState state;
    state.has_small_system = fs::exists(entry_path(file_of(kRecovery)));
    const machine::EfiVariables variables = variables_of(places_);
    const auto info = read_wide(variables, kInfo);
    if (info && info->starts_with(kSystemdBootName))
        state.started_by = info->substr(std::min(info->size(), kSystemdBootName.size() + 1));
    state.once = word_of(read_wide(variables, kOneShot));
    state.by_default = word_of(read_wide(variables, kDefault));
    if (const auto entry = started_entry(); entry && entry->name.left)
        state.tries = std::to_string(*entry->name.left);
    return state;
}

void SystemdBoot::install(const SmallSystem& system) {
    const std::vector<SmallEntry> entries = entries_of(system);
    const StoredSystem files = store_system(system, esp_ + kFiles);
    image::make_folder(esp_ + "/loader");
    image::make_folder(esp_ + kEntries);
    std::vector<std::string> kept;
    for (const SmallEntry& entry : entries) {
        kept.push_back(file_of(entry.word));
        write_file_atomic(entry_path(kept.back()), as_bytes(entry_text(entry, files, kFiles)), 0600,
                          Code::kTargetIo);
    }
    delete_entries(kept);
    delete_others(esp_ + kFiles, {files.kernel, files.initrd});
}

void SystemdBoot::remove() {
    // Firmware without variables cannot hold one that names an entry.
    if (fs::exists(places_.efivars)) {
        const LoaderState state = look();
        if (state.once == kRecovery || state.once == kDuplicate) choose_once(std::nullopt);
        if (state.by_default == kRecovery || state.by_default == kDuplicate) choose_default(std::nullopt);
    }
    delete_entries({});
    delete_others(esp_ + kFiles, {});
    std::error_code error;
    fs::remove(esp_ + kFiles, error);
}

void SystemdBoot::delete_entries(const std::vector<std::string>& keep) const {
    std::error_code error;
    std::vector<fs::path> ours;
    for (const auto& file : fs::directory_iterator(esp_ + kEntries, error)) {
        const std::string name = file.path().filename();
        if (name.starts_with(kPrefix) && std::ranges::find(keep, name) == keep.end())
            ours.push_back(file.path());
    }
    for (const fs::path& path : ours)
        if (!fs::remove(path, error) && error)
            throw_errno(Code::kTargetIo, error.value(), "{}: cannot be deleted", path.string());
}

void SystemdBoot::choose(const char* variable, const std::optional<std::string>& choice) {
    machine::EfiVariables variables = variables_of(places_);
    if (!choice) return variables.remove(variable);
    if (*choice != kRecovery && *choice != kDuplicate)
        throw_error(Code::kUsage, "'{}' is none of {}, {}, which systemd-boot has entries for", *choice,
                    kRecovery, kDuplicate);
    const std::string file = file_of(*choice);
    if (!fs::exists(entry_path(file)))
        throw_error(Code::kRefused, "systemd-boot has no entry for {}; dupengine boot install makes it",
                    *choice);
    variables.write(variable, wide(file));
}

// That which systemd-boot started this machine with, under the name that its file has now.
std::optional<EntryFile> SystemdBoot::started_entry() const {
    const auto selected = read_wide(variables_of(places_), kSelected);
    if (!selected) return std::nullopt;
    const std::string wanted = parse_entry_name(*selected).uncounted();
    std::error_code error;
    for (const char* folder : {kEntries, kPrograms})
        for (const auto& file : fs::directory_iterator(esp_ + folder, error)) {
            const std::string found = file.path().filename();
            const EntryName name = parse_entry_name(found);
            // Names on this partition differ by more than capitals, and the variable may have none.
            if (std::ranges::equal(name.uncounted(), wanted,
                                   [](char a, char b) { return std::tolower(a) == std::tolower(b); }))
                return EntryFile{esp_ + folder, found, name};
        }
    return std::nullopt;
}

// An entry that is named there is started also when none of its tries is left.
void refuse_fixed_default(const std::string& conf) {
    std::error_code error;
    if (!fs::exists(conf, error)) return;
    const std::string text = "\n" + read_file(conf, Code::kSourceIo);
    if (text.find("\ndefault ") != std::string::npos || text.find("\ndefault\t") != std::string::npos)
        throw_error(Code::kRefused,
                    "{}: its line \"default\" names what is started also when no try is left; delete it",
                    conf);
}

void SystemdBoot::set_tries(unsigned tries) {
    check_tries(tries, kMostTries);
    refuse_fixed_default(esp_ + "/loader/loader.conf");
    if (look().by_default)
        throw_error(Code::kRefused,
                    "a default was chosen, which is started also when no try is left; take that back with "
                    "\"dupengine boot default --forget\"");
    const auto entry = started_entry();
    if (!entry)
        throw_error(Code::kRefused,
                    "systemd-boot does not say which entry of {} it started this machine with, so its tries "
                    "cannot be counted",
                    esp_);
    EntryName counted = entry->name;
    counted.left = tries;
    if (counted.text() != entry->file) rename_durably(entry->folder, entry->file, counted.text());
}

std::optional<std::string> SystemdBoot::confirm() {
    const auto entry = started_entry();
    if (!entry || !entry->name.left) return std::nullopt;
    rename_durably(entry->folder, entry->file, entry->name.uncounted());
    return std::to_string(*entry->name.left);
}

}  // namespace

bool systemd_boot_started(const Places& places) {
    const auto info = read_wide(variables_of(places), kInfo);
    return info && info->starts_with(kSystemdBootName);
}

std::unique_ptr<Loader> make_systemd_boot(const Places& places) {
    return std::make_unique<SystemdBoot>(places);
}

}  // namespace dupengine::boot
