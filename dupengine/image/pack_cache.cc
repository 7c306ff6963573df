#include "image/pack_cache.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>

namespace dupengine::image {
namespace {

namespace fs = std::filesystem;

// Not what a store calls its packs, so that nobody's store is ever taken for a cache.
constexpr std::string_view kSuffix = ".cached";
// How much is kept until it is looked again whether that is too much.
constexpr std::uint64_t kStep = 16 * kMiB;

bool is_ours(const std::string& name) {
    constexpr std::size_t kDigits = 2 * sizeof(PackId);
    return name.size() == kDigits + kSuffix.size() && name.ends_with(kSuffix) &&
           name.find_first_not_of("0123456789abcdef") == kDigits;
}

}  // namespace

PackCache::PackCache(std::string folder, std::uint64_t limit_bytes)
    : folder_(std::move(folder)), limit_bytes_(limit_bytes) {
    if (::mkdir(folder_.c_str(), 0700) != 0 && errno != EEXIST)
        throw_errno(Code::kRefused, errno, "{}: the folder of the cache cannot be made", folder_);
    const Fd fd = open_path(folder_, O_RDONLY | O_DIRECTORY, Code::kRefused);
    struct stat info {};
    if (::fstat(fd.get(), &info) != 0) throw_errno(Code::kRefused, errno, "{}", folder_);
    // They could put in links to files that are not ours to write.
    if (info.st_uid != ::geteuid() || (info.st_mode & (S_IWGRP | S_IWOTH)) != 0)
        throw_error(Code::kRefused,
                    "{}: others may write to this folder, so it cannot be a cache; give one "
                    "that is yours alone",
                    folder_);
    make_room();
}

// Null if it cannot be had.
PackCache::Shared PackCache::open(const PackId& pack, int flags) const {
    const std::scoped_lock lock(mutex_);
    const auto known = std::ranges::find(open_, pack, &Open::pack);
    if (known != open_.end()) {
        open_.splice(open_.begin(), open_, known);
        return known->fd;
    }
    const std::string path = folder_ + "/" + to_hex(pack) + std::string(kSuffix);
    Fd fd(::open(path.c_str(), O_RDWR | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | flags, 0600));
    struct stat info {};
    if (!fd.valid() || ::fstat(fd.get(), &info) != 0 || !S_ISREG(info.st_mode)) return nullptr;
    // It is used now: the last to go.
    static_cast<void>(::futimens(fd.get(), nullptr));
    open_.push_front({pack, std::make_shared<const Fd>(std::move(fd))});
    constexpr std::size_t kMostOpen = 16;
    if (open_.size() > kMostOpen) open_.pop_back();
    return open_.front().fd;
}

bool PackCache::may_have(const PackId& pack, ByteOffset offset, std::size_t bytes) const {
    const Shared fd = open(pack, 0);
    if (fd == nullptr) return false;
    const ::off_t hole = ::lseek(fd->get(), static_cast<::off_t>(offset), SEEK_HOLE);
    return hole >= 0 && static_cast<std::uint64_t>(hole) >= offset + bytes;
}

bool PackCache::read(const PackId& pack, ByteOffset offset, std::span<std::byte> buffer) const {
    if (!may_have(pack, offset, buffer.size())) return false;
    const Shared fd = open(pack, 0);
    return fd != nullptr && ::pread(fd->get(), buffer.data(), buffer.size(), static_cast<::off_t>(offset)) ==
                                static_cast<::ssize_t>(buffer.size());
}

void PackCache::keep(const PackId& pack, ByteOffset offset, std::span<const std::byte> bytes) {
    // A pack has some 16 MiB; what claims to be larger is nobody's.
    constexpr std::uint64_t kLargestPack = 64 * kMiB;
    if (is_full_ || bytes.size() > limit_bytes_ || offset + bytes.size() > kLargestPack) return;
    const Shared fd = open(pack, O_CREAT);
    if (fd == nullptr || ::pwrite(fd->get(), bytes.data(), bytes.size(), static_cast<::off_t>(offset)) !=
                             static_cast<::ssize_t>(bytes.size())) {
        is_full_ = true;
        return;
    }
    if (kept_.fetch_add(bytes.size()) / kStep != kept_.load() / kStep) make_room();
}

// Other runs may do the same at this moment: what is gone already is gone.
void PackCache::make_room() const {
    struct Found {
        std::string path;
        ::timespec used{};
        std::uint64_t bytes = 0;
    };
    std::vector<Found> found;
    std::uint64_t total = 0;
    std::error_code error;
    for (fs::directory_iterator at(folder_, error), end; !error && at != end; at.increment(error)) {
        struct stat info {};
        if (!is_ours(at->path().filename()) || ::lstat(at->path().c_str(), &info) != 0 ||
            !S_ISREG(info.st_mode))
            continue;
        constexpr std::uint64_t kBlock = 512;  // of st_blocks (stat(2))
        found.push_back({at->path(), info.st_mtim, static_cast<std::uint64_t>(info.st_blocks) * kBlock});
        total += found.back().bytes;
    }
    std::ranges::sort(found, [](const Found& a, const Found& b) {
        return a.used.tv_sec != b.used.tv_sec ? a.used.tv_sec < b.used.tv_sec
                                              : a.used.tv_nsec < b.used.tv_nsec;
    });
    // Room for what comes until the next look, too.
    const std::uint64_t most = limit_bytes_ - std::min(limit_bytes_ / 4, kStep);
    for (const Found& each : found) {
        if (total <= most) return;
        if (::unlink(each.path.c_str()) == 0) total -= each.bytes;
    }
}

}  // namespace dupengine::image
