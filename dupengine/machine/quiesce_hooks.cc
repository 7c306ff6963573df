#include "machine/quiesce_hooks.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <map>

#include "base/error.h"
#include "machine/hook_process.h"

namespace dupengine::machine {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kMaxNameBytes = 64;

// Why a file or folder, without its links, could have been changed by somebody else; empty if it could not.
std::string unsafe(const struct stat& status, unsigned owner) {
    if (status.st_uid != owner) return fmt::format("it belongs to user {}, not to {}", status.st_uid, owner);
    if ((status.st_mode & (S_IWGRP | S_IWOTH)) != 0)
        return fmt::format("others may write it (mode {:04o})", status.st_mode & 07777);
    return {};
}

// Why somebody else could put another file in the place of this one, by any of the folders above it; empty if
// nobody can. What is root's is root's to change, and in a folder like /tmp nobody moves what is another's.
std::string unsafe_folder(const fs::path& file, unsigned owner) {
    struct stat status {};
    for (fs::path folder = file.parent_path();; folder = folder.parent_path()) {
        if (::stat(folder.c_str(), &status) != 0)
            return fmt::format("its folder {} cannot be read", folder.string());
        const bool is_parent = folder == file.parent_path();
        const bool is_sticky = !is_parent && (status.st_mode & S_ISVTX) != 0;
        if (!is_parent && status.st_uid == 0) status.st_uid = owner;
        if (is_sticky) status.st_mode &= ~static_cast<mode_t>(S_IWGRP | S_IWOTH);
        if (const std::string why = unsafe(status, owner); !why.empty())
            return fmt::format("of its folder {}: {}", folder.string(), why);
        if (folder == folder.root_path()) return {};
    }
}

// Why this hook may not be run now; empty if it may. The folders that a link leads to count like the file.
std::string why_not(const std::string& path, unsigned owner) {
    std::error_code error;
    const fs::path real = fs::canonical(path, error);
    struct stat status {};
    if (error || ::stat(real.c_str(), &status) != 0) return "it cannot be read: " + error.message();
    if (!S_ISREG(status.st_mode)) return "it is no file";
    if (std::string why = unsafe(status, owner); !why.empty()) return why;
    if ((status.st_mode & S_IXUSR) == 0) return "it is not executable; a link to /dev/null takes it out";
    return unsafe_folder(real, owner);
}

class Hook final : public Participant {
  public:
    Hook(std::string name, std::string path, unsigned owner)
        : name_(std::move(name)), path_(std::move(path)), owner_(owner) {}
    const std::string& name() const override { return name_; }
    const std::string& where() const override { return path_; }

    Answer call(const Call& call) override {
        try {
            if (std::string why = why_not(path_, owner_); !why.empty()) return {Outcome::kFailed, why};
        } catch (const std::exception& e) {
            return {Outcome::kFailed, e.what()};
        }
        try {
            HookEnd end = run_hook(
                {{path_, phase_name(call.phase)}, hook_environment(call), call.deadline, call.is_called_off});
            if (end.is_late) return {Outcome::kLate, std::move(end.output)};
            if (end.status == 0) return {Outcome::kDone, std::move(end.output)};
            if (end.was_killed())
                return {Outcome::kDied,
                        fmt::format("it was killed half-way (signal {})\n{}", end.status - 128, end.output)};
            if (end.output.empty()) end.output = fmt::format("exit status {}", end.status);
            return {Outcome::kFailed, std::move(end.output)};
        } catch (const std::exception& e) {
            return {Outcome::kDied, e.what()};
        }
    }

  private:
    std::string name_, path_;
    unsigned owner_;
};

// By name; the first folder that has it counts. A folder that is not there has nothing to call.
void look_into(const std::string& folder, unsigned owner, std::map<std::string, std::string>& paths,
               std::vector<NotCalled>& ignored) {
    struct stat status {};
    if (::stat(folder.c_str(), &status) != 0) {
        if (errno == ENOENT) return;
        throw_errno(Code::kRefused, errno, "{}: what is to be called cannot be seen", folder);
    }
    if (const std::string why = unsafe(status, owner); !why.empty())
        throw_error(Code::kRefused, "{}: what is in this folder is not run: {}", folder, why);
    std::error_code error;
    for (fs::directory_iterator entry(folder, error), end; !error && entry != end; entry.increment(error)) {
        const std::string name = entry->path().filename().string();
        if (!is_participant_name(name))
            ignored.push_back({entry->path().string(), "its name is not NN-name"});
        else
            paths.emplace(name, entry->path().string());
        if (paths.size() > kMaxHooks || ignored.size() > kMaxHooks)
            throw_error(Code::kRefused, "{}: more than {} files", folder, kMaxHooks);
    }
    if (error) throw_errno(Code::kRefused, error.value(), "{}: what is to be called cannot be seen", folder);
}

bool is_masked(const std::string& path) {
    std::error_code error;
    return fs::read_symlink(path, error) == "/dev/null";
}

}  // namespace

bool is_participant_name(const std::string& name) {
    const auto is_digit = [](char c) { return c >= '0' && c <= '9'; };
    const auto is_plain = [&](char c) {
        return is_digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '-' || c == '_';
    };
    return name.size() > 3 && name.size() <= kMaxNameBytes && is_digit(name[0]) && is_digit(name[1]) &&
           name[2] == '-' && std::all_of(name.begin() + 3, name.end(), is_plain);
}

std::vector<std::string> hook_environment(const Call& call) {
    const bool on_target = call.phase == Phase::kResumeTarget;
    return {"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "LC_ALL=C.UTF-8",
            "HOME=/root",
            std::string("DUPENGINE_PHASE=") + phase_name(call.phase),
            std::string("DUPENGINE_ROLE=") + (on_target ? "target" : "source"),
            "DUPENGINE_NODE=" + call.occasion.node,
            "DUPENGINE_TARGET=" + call.occasion.target,
            fmt::format("DUPENGINE_DEADLINE_MS={}", call.deadline.count())};
}

FoundHooks find_hooks(const HookPlaces& places) {
    FoundHooks found;
    std::map<std::string, std::string> paths;
    for (const std::string& folder : places.folders)
        look_into(folder, places.owner, paths, found.ignored);
    for (const auto& [name, path] : paths) {
        if (is_masked(path))
            found.masked.push_back({path, "a link to /dev/null"});
        else if (std::string why = why_not(path, places.owner); !why.empty())
            found.refused.push_back({path, std::move(why)});
        else
            found.participants.push_back(std::make_unique<Hook>(name, path, places.owner));
    }
    return found;
}

}  // namespace dupengine::machine
