#include "image/store.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>

#include "image/new_file.h"

namespace dupengine::image {
namespace {

namespace fs = std::filesystem;

// Bytes of the lock file (fcntl(2), "Open file description locks"): one is for whoever adds, one for readers
// and for whoever takes out. Such locks work over NFS as well.
constexpr ::off_t kAdding = 0, kReading = 1;

// False if somebody else holds it.
bool try_lock(int fd, ::off_t byte, short type, const std::string& path) {
    struct ::flock lock {};
    lock.l_type = type;
    lock.l_whence = SEEK_SET;
    lock.l_start = byte;
    lock.l_len = 1;
    if (::fcntl(fd, F_OFD_SETLK, &lock) == 0) return true;
    if (errno == EAGAIN || errno == EACCES) return false;
    throw_errno(Code::kTargetIo, errno, "{}/lock", path);
}

bool is_missing_or_empty(const std::string& path) {
    std::error_code error;
    if (!fs::exists(fs::symlink_status(path, error))) return true;
    return fs::is_directory(path, error) && fs::is_empty(path, error);
}

}  // namespace

StoreLock::StoreLock(const std::string& store, For what) {
    const std::string path = store + "/lock";
    if (what == For::kReading) {
        fd_ = Fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
        try {
            if (fd_.valid() && !try_lock(fd_.get(), kReading, F_RDLCK, store))
                throw_error(Code::kRefused,
                            "{}: images are being taken out of it; try again when that is done", store);
        } catch (const Error& e) {
            if (e.code() == Code::kRefused) throw;  // else: it cannot be locked
        }
        return;
    }
    fd_ = open_path(path, O_RDWR, Code::kTargetIo);
    if (!try_lock(fd_.get(), kAdding, F_WRLCK, store))
        throw_error(Code::kRefused, "{}: another dupengine is writing to it; try again when it is done",
                    store);
    if (what == For::kTakingOut && !try_lock(fd_.get(), kReading, F_WRLCK, store))
        throw_error(Code::kRefused, "{}: images of it are being read; try again when that is done", store);
}

void Store::create(const std::string& path) {
    if (::access((path + "/" + kStoreFile).c_str(), F_OK) == 0) return;
    if (!is_missing_or_empty(path))
        throw_error(Code::kRefused,
                    "{}: neither a store nor an empty folder; name a folder that does not exist yet", path);
    make_folder(path);
    make_folder(path + "/images");
    make_folder(path + "/packs");
    const std::string lock = path + "/lock";
    open_path(lock, O_RDWR | O_CREAT, Code::kTargetIo).close(Code::kTargetIo, lock);
    NewFile file(path + "/" + kStoreFile);
    file.append(as_bytes(to_json(StoreIndex{})));
    file.commit();
}

Store::Store(std::string path, StoreLock::For what)
    : path_(std::move(path)),
      lock_(path_, what),
      files_(open_folder(path_)),
      index_(read_store_index(*files_)) {}

std::vector<PackId> Store::packs() const {
    std::vector<PackId> packs;
    for (const fs::directory_entry& entry : fs::directory_iterator(path_ + "/packs")) {
        const std::string name = entry.path().filename();
        PackId id;
        if (name.size() != 2 * id.size() + 5 || !name.ends_with(".pack") ||
            name.find_first_not_of("0123456789abcdef") != 2 * id.size())
            continue;  // one that is being written, or nothing of ours
        std::ranges::copy(from_hex(std::string_view(name).substr(0, 2 * id.size())), id.begin());
        packs.push_back(id);
    }
    std::ranges::sort(packs);
    return packs;
}

void Store::replace_index(StoreIndex index) {
    NewFile file(path_ + "/" + kStoreFile);
    file.append(as_bytes(to_json(index)));
    file.commit();
    index_ = std::move(index);
}

StoreIndex read_store_index(const Files& files) {
    if (!files.size_of(kStoreFile))
        throw_error(Code::kRefused, "{}: no store of images is there", files.name());
    try {
        return parse_store_index(read_whole(files, kStoreFile, kStoreFileLimit));
    } catch (Error& e) {
        e.add_context(files.name());
        throw;
    }
}

}  // namespace dupengine::image
