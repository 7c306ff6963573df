#include "machine/quiesce_sockets.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <filesystem>
#include <optional>

#include "base/error.h"
#include "base/fd.h"
#include "machine/quiesce_hooks.h"

namespace dupengine::machine {
namespace {

namespace fs = std::filesystem;
using std::chrono::milliseconds;
using Clock = std::chrono::steady_clock;

constexpr std::size_t kMaxAnswerBytes = 512;
constexpr int kMaxAnswers = 16;  // that belong to earlier calls
constexpr std::string_view kSuffix = ".sock";

// Who may listen besides the owner of the folder.
struct Allowed {
    unsigned owner = 0;
    std::optional<gid_t> group;
};

// A link is not followed: in a folder that a group may write it could lead to a socket of somebody else's.
Fd connect_to(const std::string& path) {
    const Fd file = open_path(path, O_PATH | O_NOFOLLOW, Code::kRefused);
    struct stat status {};
    if (::fstat(file.get(), &status) != 0 || !S_ISSOCK(status.st_mode))
        throw_error(Code::kRefused, "{}: it is no socket", path);
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    fmt::format_to_n(address.sun_path, sizeof address.sun_path - 1, "/proc/self/fd/{}", file.get());
    Fd fd(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    if (!fd.valid() || ::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0)
        throw_errno(Code::kRefused, errno, "{} cannot be asked", path);
    return fd;
}

// The kernel tells who listened, as it was when the program began to.
bool is_in_group(int fd, gid_t primary, gid_t group) {
    if (primary == group) return true;
    std::array<gid_t, 256> groups{};
    socklen_t size = sizeof groups;
    if (::getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, groups.data(), &size) != 0) return false;
    return std::find(groups.begin(), groups.begin() + size / sizeof(gid_t), group) !=
           groups.begin() + size / sizeof(gid_t);
}

void check_peer(int fd, const std::string& path, const Allowed& allowed) {
    ucred peer{};
    socklen_t size = sizeof peer;
    if (::getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0)
        throw_errno(Code::kRefused, errno, "{}: it is not known who listens", path);
    if (peer.uid == 0 || peer.uid == allowed.owner) return;
    if (allowed.group && is_in_group(fd, peer.gid, *allowed.group)) return;
    throw_error(Code::kRefused, "{}: user {} listens, who may not be a participant", path, peer.uid);
}

// "NUMBER ok" or "NUMBER no WHY"; nothing if it is of an earlier call.
std::optional<Answer> parse_answer(std::string_view text, std::uint64_t number) {
    if (!text.empty() && text.back() == '\n') text.remove_suffix(1);
    const std::string own = fmt::format("{} ", number);
    if (!text.starts_with(own)) {
        const bool is_earlier = !text.empty() && text[0] >= '0' && text[0] <= '9';
        if (is_earlier) return std::nullopt;
        return Answer{Outcome::kFailed, "its answer is not understood"};
    }
    text.remove_prefix(own.size());
    if (text == "ok") return Answer{Outcome::kDone, {}};
    if (text == "no" || text.starts_with("no "))
        return Answer{Outcome::kFailed, std::string(text.substr(std::min<std::size_t>(text.size(), 3)))};
    return Answer{Outcome::kFailed, "its answer is not understood"};
}

class Listener final : public Participant {
  public:
    Listener(std::string name, std::string path, Allowed allowed)
        : name_(std::move(name)), path_(std::move(path)), allowed_(allowed) {}
    const std::string& name() const override { return name_; }
    const std::string& where() const override { return path_; }

    Answer call(const Call& call) override {
        try {
            if (call.phase == Phase::kPrepare) {
                connection_ = connect_to(path_);
                check_peer(connection_.get(), path_, allowed_);
            }
            if (!connection_.valid()) return {Outcome::kGone, "it went away"};
            const Answer answer = ask(call);
            const bool is_over = call.phase != Phase::kPrepare || answer.outcome == Outcome::kFailed;
            if (is_over || answer.outcome == Outcome::kGone) connection_ = Fd();
            return answer;
        } catch (const std::exception& e) {
            connection_ = Fd();
            return {Outcome::kFailed, e.what()};
        }
    }

    bool is_there() const override {
        pollfd polled{connection_.get(), POLLIN | POLLRDHUP, 0};
        return connection_.valid() && ::poll(&polled, 1, 0) >= 0 &&
               (polled.revents & (POLLHUP | POLLRDHUP | POLLERR)) == 0;
    }

  private:
    Answer ask(const Call& call) {
        const std::string text = fmt::format(
            "dupengine-quiesce 1\nnumber {}\nphase {}\nnode {}\ntarget {}\ndeadline_ms {}\n", ++number_,
            phase_name(call.phase), call.occasion.node, call.occasion.target, call.deadline.count());
        const auto end = Clock::now() + call.deadline;
        if (::send(connection_.get(), text.data(), text.size(), MSG_NOSIGNAL) < 0)
            return errno == EAGAIN ? Answer{Outcome::kLate, {}} : Answer{Outcome::kGone, "it went away"};
        for (int answers = 0; answers < kMaxAnswers; ++answers) {
            if (!wait_readable(end, call.is_called_off)) return {Outcome::kLate, {}};
            std::array<char, kMaxAnswerBytes> buffer;
            const ssize_t n = ::recv(connection_.get(), buffer.data(), buffer.size(), MSG_TRUNC);
            if (n < 0 && (errno == EAGAIN || errno == EINTR)) continue;
            if (n <= 0) return {Outcome::kGone, "it went away"};
            if (static_cast<std::size_t>(n) > buffer.size())
                return {Outcome::kFailed, fmt::format("its answer has {} bytes", n)};
            if (auto answer = parse_answer({buffer.data(), static_cast<std::size_t>(n)}, number_))
                return *answer;
        }
        return {Outcome::kFailed, "it answers what was not asked"};
    }

    bool wait_readable(Clock::time_point end, const std::function<bool()>& is_called_off) const {
        constexpr std::int64_t kLookMs = 100;
        while (true) {
            const auto left = std::chrono::ceil<milliseconds>(end - Clock::now());
            if (left.count() <= 0 || is_called_off()) return false;
            pollfd polled{connection_.get(), POLLIN, 0};
            const int ready =
                ::poll(&polled, 1, static_cast<int>(std::min<std::int64_t>(left.count(), kLookMs)));
            if (ready > 0) return true;
            if (ready < 0 && errno != EINTR) throw_errno(Code::kInternal, errno, "poll failed");
        }
    }

    std::string name_, path_;
    Allowed allowed_;
    Fd connection_;
    std::uint64_t number_ = 0;
};

// Whoever may write the folder may listen in it; that everybody may is refused.
Allowed allowed_in(const struct stat& folder, const SocketPlaces& places) {
    if (folder.st_uid != places.owner || (folder.st_mode & S_IWOTH) != 0)
        throw_error(Code::kRefused,
                    "{}: participants are not looked for here: it belongs to user {} and has mode {:04o}; it "
                    "must be root's, and not writable by everybody",
                    places.folder, folder.st_uid, folder.st_mode & 07777);
    Allowed allowed{places.owner, std::nullopt};
    if ((folder.st_mode & S_IWGRP) != 0) allowed.group = folder.st_gid;
    return allowed;
}

// Why nobody can be called there; empty if somebody listens, or may be doing so.
std::string why_ignored(const fs::path& path) {
    struct stat status {};
    if (!path.filename().string().ends_with(kSuffix) || !is_participant_name(path.stem().string()))
        return "its name is not NN-name.sock";
    if (::lstat(path.c_str(), &status) != 0 || !S_ISSOCK(status.st_mode)) return "it is no socket";
    try {
        connect_to(path.string());
    } catch (const Error& e) {
        if (e.system_errno() == ECONNREFUSED || e.system_errno() == ENOENT) return "nobody listens any more";
    }
    return {};
}

}  // namespace

FoundSockets find_sockets(const SocketPlaces& places) {
    FoundSockets found;
    struct stat status {};
    if (::stat(places.folder.c_str(), &status) != 0) {
        if (errno == ENOENT) return found;
        throw_errno(Code::kRefused, errno, "{}: participants cannot be looked for", places.folder);
    }
    const Allowed allowed = allowed_in(status, places);
    std::vector<fs::path> paths;
    std::error_code error;
    for (fs::directory_iterator entry(places.folder, error), end; !error && entry != end;
         entry.increment(error)) {
        paths.push_back(entry->path());
        if (paths.size() > kMaxSockets)
            throw_error(Code::kRefused, "{}: more than {} participants", places.folder, kMaxSockets);
    }
    if (error)
        throw_errno(Code::kRefused, error.value(), "{}: participants cannot be looked for", places.folder);
    std::ranges::sort(paths);
    for (const fs::path& path : paths) {
        if (std::string why = why_ignored(path); !why.empty())
            found.ignored.push_back({path.string(), std::move(why)});
        else
            found.participants.push_back(
                std::make_unique<Listener>(path.stem().string(), path.string(), allowed));
    }
    return found;
}

}  // namespace dupengine::machine
