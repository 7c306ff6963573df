#include "efi/firmware/files.h"

#include "efi/core/device_path.h"

namespace dupengine::efi {
namespace {

constexpr std::uint64_t kLargestFile = 1024 * kMiB;

/// Closes itself.
class OpenFile {
  public:
    OpenFile() = default;
    ~OpenFile() {
        if (file_ != nullptr) file_->close(file_);
    }
    OpenFile(const OpenFile&) = delete;
    OpenFile& operator=(const OpenFile&) = delete;
    File** place() { return &file_; }
    File* operator->() const { return file_; }
    File* get() const { return file_; }

  private:
    File* file_ = nullptr;
};

TextView size_of(OpenFile& file, std::uint64_t& size) {
    alignas(8) std::array<std::byte, 1024> info;
    std::uint64_t bytes = info.size();
    if (file->info(file.get(), &kFileInfo, &bytes, info.data()) != kSuccess) return "its size cannot be read";
    if ((load_le<std::uint64_t>(info, kFileAttributesAt) & kIsFolder) != 0) return "it is a folder";
    size = load_le<std::uint64_t>(info, kFileSizeAt);
    return size <= kLargestFile ? TextView() : TextView("it is too large");
}

}  // namespace

Handle partition_handle(BootServices& boot, Bytes disk_path, const Guid& partition) {
    const Handles handles(boot, &kFileSystemProtocol);
    for (Handle handle : handles.all())
        if (partition_on(disk_path, path_of(boot, handle)) == partition) return handle;
    return nullptr;
}

TextView read_whole_file(BootServices& boot, Handle partition, TextView path, Pool& into) {
    auto* system = protocol_of<FileSystem>(boot, partition, kFileSystemProtocol);
    OpenFile root, file;
    if (system == nullptr || system->open_volume(system, root.place()) != kSuccess)
        return "its partition has no file system that firmware can read";
    std::array<char16_t, 300> name;
    if (to_utf16(path, true, name) == 0) return "its path is too long";
    const Status opened = root->open(root.get(), file.place(), name.data(), kOpenForReading, 0);
    if (opened != kSuccess) return status_text(opened);
    std::uint64_t size = 0;
    if (const TextView reason = size_of(file, size); !reason.empty()) return reason;
    if (size == 0) return "it is empty";
    if (!into.allocate(size)) return status_text(kOutOfResources);
    std::uint64_t read = size;
    const Status status = file->read(file.get(), &read, into.all().data());
    if (status != kSuccess) return status_text(status);
    return read == size ? TextView() : TextView("it was cut while it was read");
}

}  // namespace dupengine::efi
