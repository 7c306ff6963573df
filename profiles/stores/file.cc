#include "profiles/stores/file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <optional>

#include "base/fd.h"
#include "block/open.h"

namespace dupengine::profiles {
namespace {

block::Extent whole(const block::Reader& file) {
    return {0, file.geometry().size_bytes};
}

void check_regular(const std::string& path) {
    if (block::identify(path).is_block_device)
        throw_error(Code::kRefused, "{}: is a block device; use partition:{}", path, path);
}

class FileStore final : public ProfileStore {
  public:
    explicit FileStore(const std::string& path) : path_(path), name_("file:" + path) {}
    const std::string& name() const override { return name_; }
    Slots look() const override {
        check_regular(path_);
        const auto reader = block::open_source(path_);
        return read_slots(*reader, whole(*reader));
    }
    void write(const StoredProfile& next) override {
        check_regular(path_);
        const auto target = block::open_target(path_, {});
        write_slot(*target, whole(*target), next);
    }

  private:
    std::string path_;
    std::string name_;
};

std::string folder_of(const std::string& path) {
    const std::string folder = std::filesystem::path(path).parent_path().string();
    return folder.empty() ? "." : folder;
}

std::optional<dev_t> filesystem_of(const std::string& path) {
    struct stat st {};
    return ::stat(path.c_str(), &st) == 0 ? std::optional(st.st_dev) : std::nullopt;
}

// A mistyped device name must not become a file that hides in /dev until the next start.
void check_folder(const std::string& path) {
    const std::string folder = folder_of(path);
    const auto filesystem = filesystem_of(folder);
    if (!filesystem) throw_errno(Code::kRefused, errno, "{}: cannot be used", folder);
    if (filesystem == filesystem_of("/dev") && filesystem != filesystem_of("/"))
        throw_error(Code::kRefused, "{}: lies in /dev, where no file is made", path);
}

void sync_folder(const std::string& path) {
    const std::string name = folder_of(path);
    const Fd fd = open_path(name, O_RDONLY | O_DIRECTORY, Code::kTargetIo);
    if (::fsync(fd.get()) != 0) throw_errno(Code::kTargetIo, errno, "{}: flush failed", name);
}

// False if there is something at `path` already.
bool make_blank_file(const std::string& path) {
    try {
        Fd fd = open_path(path, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW, Code::kRefused, 0600);
        if (::ftruncate(fd.get(), static_cast<off_t>(kStoreMinimumBytes)) != 0 || ::fsync(fd.get()) != 0)
            throw_errno(Code::kTargetIo, errno, "{}: cannot be made {} bytes long", path, kStoreMinimumBytes);
        fd.close(Code::kTargetIo, path);
    } catch (const Error& e) {
        if (e.system_errno() == EEXIST) return false;
        throw;
    }
    sync_folder(path);
    return true;
}

}  // namespace

std::unique_ptr<ProfileStore> file_store(const std::string& path) {
    return std::make_unique<FileStore>(path);
}

void check_new_file_store(const std::string& path, bool replace_damaged) {
    check_folder(path);
    const auto store = file_store(path);
    if (std::filesystem::exists(std::filesystem::symlink_status(path)))
        check_replaceable(store->look(), store->name(), replace_damaged);
}

void init_file_store(const std::string& path, const StoredProfile& first, bool replace_damaged) {
    check_new_file_store(path, replace_damaged);
    const auto store = file_store(path);
    // Something that came there since the check is looked at as well.
    if (!make_blank_file(path)) check_replaceable(store->look(), store->name(), replace_damaged);
    store->write(first);
}

}  // namespace dupengine::profiles
