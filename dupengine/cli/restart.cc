#include "cli/restart.h"

#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "bootloader_hooks/media/initramfs.h"
#include "cli/confirm.h"
#include "machine/facts.h"
#include "machine/next_system.h"
#include "profiles/references/initramfs_members.h"
#include "wire/credentials.h"

namespace dupengine::cli {
namespace {

constexpr std::size_t kInitramfsLimit = kGiB;

bool begins_with_any(const std::string& word, const std::vector<std::string>& beginnings) {
    return std::ranges::any_of(beginnings, [&](const std::string& begin) { return word.starts_with(begin); });
}

void refuse_what_is_no_word(const std::string& text) {
    if (text.find_first_of(" \t\n\"\\") != std::string::npos)
        throw_error(Code::kUsage, "{}: cannot be said on a kernel's command line", text);
}

void refuse_if_it_cannot_receive(const std::string& path, const std::string& initramfs) {
    try {
        static_cast<void>(boot::check_initramfs(initramfs));
    } catch (const Error& e) {
        throw_error(Code::kRefused,
                    "{}: cannot receive ({}); make one that can: DUPENGINE_RECEIVE=y mkinitramfs -o FILE "
                    "(dupengine-initramfs(8)), and say --initramfs FILE",
                    path, e.what());
    }
}

// Where the small system looks for its enrolment.
std::string keys_for(const std::string& initramfs, const std::string& folder) {
    std::vector<profiles::CpioMember> members;
    for (const char* above : {"etc", "etc/dupengine"})
        members.push_back({above, S_IFDIR | 0755, 0, 0, 0, {}});
    const std::string place = std::string(wire::kPeersFolder).substr(1);
    members.push_back({place, S_IFDIR | 0700, 0, 0, 0, {}});
    for (const wire::CredentialFile& file : wire::credential_files(folder))
        members.push_back({place + "/" + file.name, S_IFREG | 0600, 0, 0, 0, file.content});
    return profiles::addition_to_initramfs(initramfs, members);
}

// A file that no disk has, for as long as the descriptor is open.
Fd file_in_memory(const std::string& first, const std::string& second) {
    Fd fd(::memfd_create("dupengine-initramfs", MFD_CLOEXEC));
    if (!fd.valid()) throw_errno(Code::kUnsupported, errno, "a file in memory");
    pwrite_exact(fd.get(), 0, as_bytes(first), Code::kUnsupported, "a file in memory");
    pwrite_exact(fd.get(), first.size(), as_bytes(second), Code::kUnsupported, "a file in memory");
    return fd;
}

void refuse_if_it_cannot_leave(const machine::Facts& facts, bool is_live) {
    std::vector<std::string> obstacles = machine::obstacles_to_leaving();
    if (is_live)
        for (const std::string& obstacle : machine::obstacles_to_restoring(facts))
            obstacles.push_back(obstacle);
    if (!obstacles.empty())
        throw_error(Code::kUnsupported,
                    "this machine cannot leave its system by itself: {}. What works: start it with an "
                    "initramfs that receives (dupengine-initramfs(8))",
                    fmt::join(obstacles, "; "));
}

void refuse_if_no_disk(const std::string& path) {
    struct stat status {};
    if (::stat(path.c_str(), &status) != 0) throw_errno(Code::kUsage, errno, "{}", path);
    if (!S_ISBLK(status.st_mode))
        throw_error(Code::kUsage, "{}: is no disk, and the small system has nothing else", path);
}

}  // namespace

void add_restart_options(CLI::App& verb, RestartOptions& options) {
    verb.add_flag("--restart", options.is_wanted,
                  "Leave the system that runs here, and wait in a small one without firmware between");
    verb.add_option("--kernel", options.kernel, "With --restart: its kernel (the one that runs, in /boot)")
        ->option_text("FILE");
    verb.add_option("--initramfs", options.initramfs,
                    "With --restart: its initramfs, which can receive (that of the kernel, in /boot)")
        ->option_text("FILE");
    verb.add_option("--append", options.append,
                    "With --restart: further words for its kernel, such as ip=dhcp")
        ->option_text("WORDS");
}

std::string reception_words(const NextReception& reception, const std::string& current,
                            const std::function<std::string()>& network, const std::string& append) {
    std::vector<std::string> words;
    for (const std::string& word : machine::split_command_line(current))
        if (begins_with_any(word, {"console=", "mem=", "memmap=", "net.ifnames="})) words.push_back(word);
    const std::vector<std::string> further = machine::split_command_line(append);
    const bool says_network =
        std::ranges::any_of(further, [](const std::string& word) { return word.starts_with("ip="); });
    if (!says_network) words.push_back(network());
    for (const std::string& target : reception.targets) {
        refuse_what_is_no_word(target);
        words.push_back("dupengine.receive=" + target);
    }
    if (reception.is_live) words.emplace_back("dupengine.live");
    for (const std::string& name : reception.peers.names)
        words.push_back("dupengine.peer=" + name);
    if (!reception.listen.empty()) {
        refuse_what_is_no_word(reception.listen);
        words.push_back("dupengine.listen=" + reception.listen);
    }
    words.insert(words.end(), further.begin(), further.end());
    return fmt::format("{}", fmt::join(words, " "));
}

void restart_to_receive(const NextReception& reception, const RestartOptions& options, bool ask) {
    const machine::Facts facts = machine::read_facts();
    for (const std::string& target : reception.targets)
        refuse_if_no_disk(target);
    const std::string targets = fmt::format("{}", fmt::join(reception.targets, ", "));
    refuse_if_it_cannot_leave(facts, reception.is_live);
    const auto or_usual = [&](const std::string& path, const char* usual) {
        return path.empty() ? usual + facts.release : path;
    };
    const std::string initramfs_path = or_usual(options.initramfs, "/boot/initrd.img-");
    const std::string initramfs = read_file(initramfs_path, Code::kUsage, kInitramfsLimit);
    refuse_if_it_cannot_receive(initramfs_path, initramfs);
    const std::string words = reception_words(
        reception, read_file("/proc/cmdline", Code::kInternal), [] { return machine::ip_word(); },
        options.append);
    const std::string keys = keys_for(initramfs, reception.peers.folder);
    if (ask) confirm_overwrite("the system that runs here stops, and when another machine comes " + targets);
    const Fd whole = file_in_memory(initramfs, keys);
    machine::load_next_system({or_usual(options.kernel, "/boot/vmlinuz-"), whole, words});
    machine::leave_for_next_system();
    fmt::print(stderr, "this system stops; a small one waits for a source for {}: {}\n", targets, words);
}

}  // namespace dupengine::cli
