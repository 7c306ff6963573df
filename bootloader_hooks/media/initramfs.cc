#include "bootloader_hooks/media/initramfs.h"

#include <sys/stat.h>
#include <sys/utsname.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <filesystem>

#include "base/fd.h"
#include "base/subprocess.h"
#include "bootloader_hooks/media/linux_image.h"
#include "bootloader_hooks/media/machine_drivers.h"
#include "bootloader_hooks/media/work_folder.h"
#include "image/signature.h"
#include "profiles/references/initramfs_members.h"
#include "profiles/schema.h"
#include "wire/credentials.h"

namespace dupengine::boot {
namespace {

namespace fs = std::filesystem;

// The settings of initramfs.conf(5), all that mkinitramfs does not do without. Neither the root nor the swap
// of this machine is of interest to another.
constexpr std::string_view kSettings =
    "BUSYBOX=auto\nKEYMAP=n\nCOMPRESS=zstd\nCOMPRESSLEVEL=9\nDEVICE=\nNFSROOT=auto\nRUNSIZE=10%"
    "\nRESUME="
    "none\nFSTYPE=ext4\n"
    "DUPENGINE_RECEIVE=y\n";

constexpr std::size_t kLargest = 2 * kGiB, kLargestProfile = kMiB;

// What runs before there is a system; where it looks for the profile of the machine.
constexpr std::string_view kScript = "usr/lib/dupengine/early/work", kProfile = "etc/dupengine/profile.toml";

constexpr std::string_view kTrusted = "etc/dupengine/trusted.d/", kPeers = "etc/dupengine/peers/";

void check_version(const std::string& version) {
    if (version.empty() || version.starts_with('.') || version.starts_with('-') ||
        version.find('/') != std::string::npos)
        throw_error(Code::kUsage, "'{}' is no version of a kernel", version);
}

// DUPENGINE_DRIVERS is for our hook (initramfs-tools/hooks/dupengine).
std::string settings_of(const InitramfsOptions& options) {
    std::string text(kSettings);
    if (!options.only_this_machine) return text + "MODULES=most\n";
    return text + fmt::format("MODULES=list\nDUPENGINE_DRIVERS=\"{}\"\n",
                              fmt::join(find_machine_drivers(options.kernel), " "));
}

std::string run_mkinitramfs(const InitramfsOptions& options, const std::stop_token& stop) {
    const std::string& version = options.kernel;
    check_version(version);
    if (!program_exists("mkinitramfs"))
        throw_error(Code::kUnsupported,
                    "mkinitramfs is not installed: apt install initramfs-tools-core busybox");
    const TemporaryFolder work = work_folder();
    const std::string settings = work.file("conf"), made = work.file("initramfs");
    for (const char* folder : {"", "/conf.d", "/hooks", "/scripts"})
        fs::create_directory(settings + folder);
    // What it unpacks goes with ours: stopped, it is killed and cannot clean up.
    const std::string unpacked = work.file("unpacked");
    fs::create_directory(unpacked);
    write_file_atomic(settings + "/initramfs.conf", as_bytes(settings_of(options)), 0644, Code::kTargetIo);
    write_file_atomic(settings + "/modules", {}, 0644, Code::kTargetIo);
    const RunResult result = run_program({"mkinitramfs", "-d", settings, "-o", made, version},
                                         {.stop = stop, .extra_environment = {"TMPDIR=" + unpacked}});
    if (result.status != 0 && !fs::exists("/lib/modules/" + version))
        throw_error(Code::kUnsupported,
                    "kernel {0} has no modules on this machine (/lib/modules/{0}); --kernel names another",
                    version);
    if (result.status != 0)
        throw_error(Code::kInternal, "mkinitramfs for kernel {} failed: {}", version, result.complaint());
    return read_file(made, Code::kInternal, kLargest);
}

// Folders have members of their own, because the kernel makes none by itself.
class Addition {
  public:
    void add(const std::string& path, std::string content, std::uint32_t mode) {
        make_folders(path, mode == 0600 ? 0700 : 0755);
        members_.push_back({.name = path, .mode = S_IFREG | mode, .content = std::move(content)});
        paths_.push_back(path);
    }
    const std::vector<profiles::CpioMember>& members() const { return members_; }
    const std::vector<std::string>& paths() const { return paths_; }

  private:
    // Those of Debian are there already; the mode is that of our own below etc/dupengine.
    void make_folders(const std::string& path, std::uint32_t mode) {
        static constexpr std::string_view kOwn = "etc/dupengine";
        make_folder(std::string(kOwn), 0755);
        for (std::size_t at = path.find('/', kOwn.size() + 1); at != std::string::npos;
             at = path.find('/', at + 1))
            make_folder(path.substr(0, at), mode);
    }
    void make_folder(const std::string& path, std::uint32_t mode) {
        for (const profiles::CpioMember& member : members_)
            if (member.name == path) return;
        members_.push_back({.name = path, .mode = S_IFDIR | mode});
    }
    std::vector<profiles::CpioMember> members_;
    std::vector<std::string> paths_;
};

void add_trusted(Addition& addition, const std::vector<std::string>& files) {
    for (const std::string& file : files) {
        static_cast<void>(image::read_public_key(file));
        std::string name = fs::path(file).filename().string();
        if (!name.ends_with(".pub")) name += ".pub";
        const std::string path = std::string(kTrusted) + name;
        for (const std::string& other : addition.paths())
            if (other == path) throw_error(Code::kUsage, "two of the trusted keys are named {}", name);
        addition.add(path, read_file(file, Code::kUsage), 0644);
    }
}

std::string read_node(const std::string& file) {
    std::string text = read_file(file, Code::kUsage, kLargestProfile);
    if (profiles::parse_profile(text, file).kind != profiles::Kind::kNode)
        throw_error(Code::kUsage, "{}: is the profile of a role, and no node's", file);
    return text;
}

Addition what_was_asked_for(const InitramfsOptions& options) {
    Addition addition;
    add_trusted(addition, options.trusted);
    if (!options.ca_file.empty()) {
        std::string authority = read_file(options.ca_file, Code::kUsage);
        if (authority.find("-----BEGIN CERTIFICATE-----") == std::string::npos)
            throw_error(Code::kUsage, "{}: holds no certificate (PEM)", options.ca_file);
        addition.add("etc/dupengine/ca.pem", std::move(authority), 0644);
    }
    if (!options.profile.empty()) {
        addition.add(std::string(kProfile), read_node(options.profile), 0600);
    }
    if (!options.enrolment.empty())
        for (wire::CredentialFile& file : wire::credential_files(options.enrolment))
            addition.add(std::string(kPeers) + file.name, std::move(file.content), 0600);
    return addition;
}

// "usr/lib/modules/VERSION/..."; some have it in "lib".
void take_module(std::string_view name, Initramfs& found) {
    static constexpr std::string_view kModules = "lib/modules/";
    if (name.ends_with(".ko") || name.ends_with(".ko.xz")) ++found.modules;
    if (name.starts_with("usr/")) name.remove_prefix(4);
    if (!name.starts_with(kModules)) return;
    name.remove_prefix(kModules.size());
    const std::string version(name.substr(0, name.find('/')));
    if (std::ranges::find(found.kernels, version) == found.kernels.end()) found.kernels.push_back(version);
}

}  // namespace

std::string running_kernel() {
    struct utsname names {};
    if (::uname(&names) != 0) throw_errno(Code::kInternal, errno, "uname");
    return names.release;
}

Initramfs check_initramfs(std::string content) {
    Initramfs found;
    bool has_command = false, has_script = false;
    const bool was_read = profiles::may_be_initramfs(content) &&
                          profiles::take_initramfs_members(content, [&](const profiles::CpioMember& member) {
                              const std::string_view name = member.name;
                              has_command = has_command || name == "usr/sbin/dupengine";
                              has_script = has_script || name == kScript;
                              take_module(name, found);
                              if (name.starts_with(kTrusted) && name.ends_with(".pub"))
                                  found.trusts_somebody = true;
                              if (name.starts_with(kPeers)) found.is_secret = true;
                          });
    if (!was_read) throw_error(Code::kUsage, "it is no initramfs");
    if (!has_command || !has_script)
        throw_error(
            Code::kUnsupported,
            "it has no {} in it: mkinitramfs looks for the hook and the script of this project in "
            "/usr/share/initramfs-tools, and for the command in /usr/sbin or /usr/local/sbin; install "
            "with cmake --install BUILD --prefix /usr",
            has_command ? "boot script" : "dupengine");
    found.content = std::move(content);
    return found;
}

void check_can_start(const Initramfs& system, std::string_view linux_content, const std::string& linux_name,
                     const BootWords& words) {
    const std::string version = kernel_version(linux_content, linux_name);
    if (!system.kernels.empty() && std::ranges::find(system.kernels, version) == system.kernels.end())
        throw_error(Code::kRefused, "{} is kernel {}, and the small system has modules of {}", linux_name,
                    version, fmt::join(system.kernels, ", "));
    const bool asks_a_peer = words.receives || words.copied.starts_with("dup://");
    // Its enrolment may be in another folder, which is not looked for here.
    const bool is_elsewhere = std::ranges::any_of(
        words.appended, [](const std::string& word) { return word.starts_with("dupengine.peers="); });
    if (asks_a_peer && !system.is_secret && !is_elsewhere)
        throw_error(Code::kRefused,
                    "the small system has no enrolment, so nobody would talk to it: "
                    "--enrolment DIR");
    if (!words.copied.empty() && !asks_a_peer && !system.trusts_somebody)
        throw_error(Code::kRefused,
                    "the small system has no key that images have to be signed with, so it "
                    "would take none: --trust FILE");
}

std::string profile_archive(const std::string& file) {
    Addition addition;
    addition.add(std::string(kProfile), read_node(file), 0600);
    return profiles::addition_to_initramfs("", addition.members());
}

Initramfs make_initramfs(const InitramfsOptions& options, const std::stop_token& stop) {
    // First what is quickly known to be wrong.
    const Addition addition = what_was_asked_for(options);
    Initramfs made;
    try {
        made = check_initramfs(run_mkinitramfs(options, stop));
    } catch (Error& e) {
        e.add_context("what mkinitramfs made");
        throw;
    }
    if (addition.members().empty()) return made;
    made = check_initramfs(made.content + profiles::addition_to_initramfs(made.content, addition.members()));
    made.added = addition.paths();
    return made;
}

}  // namespace dupengine::boot
