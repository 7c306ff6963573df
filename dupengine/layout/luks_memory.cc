#include "layout/luks_memory.h"

#include <libcryptsetup.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

namespace dupengine::layout {
namespace {

void say_nothing(int /*level*/, const char* /*text*/, void* /*user*/) {}

Fd memory_file(const std::string& name, std::uint64_t size_bytes) {
    Fd fd(::memfd_create("dupengine-luks-header", MFD_CLOEXEC));
    if (!fd.valid() || ::ftruncate(fd.get(), static_cast<off_t>(size_bytes)) != 0)
        throw_errno(Code::kInternal, errno, "{}: no memory file for its header", name);
    return fd;
}

}  // namespace

LuksInMemory::LuksInMemory(std::string name, const LuksHeader& header, std::uint64_t size_bytes)
    : name_(std::move(name)), area_bytes_(header.payload.begin), device_(nullptr, &crypt_free) {
    constexpr std::uint64_t kLargest = 256 * kMiB;  // twice the largest that cryptsetup makes
    if (area_bytes_ > kLargest)
        throw_error(Code::kRefused, "{}: a LUKS header of {} bytes is larger than any that is made", name_,
                    area_bytes_);
    file_ = memory_file(name_, size_bytes);
    // Of a file in memory nobody else has anything to lock out.
    crypt_metadata_locking(nullptr, 0);
    crypt_set_log_callback(nullptr, say_nothing, nullptr);  // only cli/ prints
    crypt_device* made = nullptr;
    const std::string path = fmt::format("/proc/self/fd/{}", file_.get());
    if (const int error = crypt_init(&made, path.c_str()); error < 0)
        throw_errno(Code::kRefused, -error, "{}: libcryptsetup does not look at its header", name_);
    device_.reset(made);
}

LuksInMemory LuksInMemory::copy_of(const block::Reader& part, const LuksHeader& header) {
    constexpr std::uint64_t kStep = kMiB;
    LuksInMemory copy(part.name(), header, part.geometry().size_bytes);
    for (ByteOffset at = 0; at < header.payload.begin; at += kStep) {
        const Bytes bytes = block::read_extent(part, {at, std::min(at + kStep, header.payload.begin)});
        if (!is_zero(bytes)) pwrite_exact(copy.file_.get(), at, bytes, Code::kInternal, "memory file");
    }
    if (const int error = crypt_load(copy.device(), CRYPT_LUKS, nullptr); error < 0)
        throw_errno(Code::kRefused, -error, "{}: libcryptsetup does not read its header", part.name());
    return copy;
}

LuksInMemory LuksInMemory::blank(const std::string& name, const LuksHeader& header) {
    constexpr std::uint64_t kLargestSector = 4 * kKiB;  // libcryptsetup wants whole ones up to the end
    return {name, header, align_up(header.payload.end, kLargestSector)};
}

std::optional<Secret> LuksInMemory::unlock(const Secret& key) {
    Secret volume_key(static_cast<std::size_t>(std::max(crypt_get_volume_key_size(device()), 1)));
    std::size_t size = volume_key.size();
    const int slot =
        crypt_volume_key_get(device(), CRYPT_ANY_SLOT, volume_key.chars(), &size, key.chars(), key.size());
    if (slot == -EPERM || slot == -ENOENT) return std::nullopt;
    if (slot < 0) throw_errno(Code::kRefused, -slot, "{}: libcryptsetup does not unlock it", name_);
    volume_key.shorten(size);
    return volume_key;
}

Bytes LuksInMemory::area() const {
    Bytes bytes(area_bytes_);
    pread_exact(file_.get(), 0, bytes, Code::kInternal, "memory file");
    return bytes;
}

}  // namespace dupengine::layout
