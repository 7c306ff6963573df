#include "layout/luks_key.h"

#include <fcntl.h>
#include <libcryptsetup.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <optional>

#include "base/fd.h"
#include "codec/sector_cipher.h"

namespace dupengine::layout {
namespace {

using block::Extent;

constexpr std::uint64_t kIvSector = 512;

// What is behind the encryption, read sector by sector.
class DecryptingReader final : public block::Reader {
  public:
    DecryptingReader(const block::Reader& part, const LuksHeader& header, Secret volume_key)
        : payload_(part, header.payload, part.name() + ", decrypted"),
          cipher_(std::move(volume_key)),
          sector_bytes_(header.sector_bytes),
          iv_offset_(header.iv_offset),
          geometry_(payload_.geometry()) {
        geometry_.logical_sector_bytes = std::max(geometry_.logical_sector_bytes, sector_bytes_);
    }

    const block::Geometry& geometry() const override { return geometry_; }
    const std::string& name() const override { return payload_.name(); }
    void read(ByteOffset offset, std::span<std::byte> buffer) const override {
        const std::uint64_t size = geometry_.size_bytes;
        if (offset > size || buffer.size() > size - offset)
            throw_error(Code::kSourceIo, "{}: a read at {} passes its end", name(), offset);
        while (!buffer.empty()) {
            const ByteOffset begin = align_down(offset, sector_bytes_);
            const std::size_t step = std::min<std::size_t>(buffer.size(), kStep - (offset - begin));
            const ByteOffset end = align_up(offset + step, sector_bytes_);
            const Bytes plain = decrypted({begin, end});
            std::copy_n(plain.begin() + static_cast<std::ptrdiff_t>(offset - begin), step, buffer.begin());
            offset += step;
            buffer = buffer.subspan(step);
        }
    }

  private:
    Bytes decrypted(Extent range) const {
        Bytes bytes = block::read_extent(payload_, range);
        for (ByteOffset at = range.begin; at < range.end; at += sector_bytes_)
            cipher_.decrypt(iv_offset_ + at / kIvSector,
                            std::span(bytes).subspan(at - range.begin, sector_bytes_));
        return bytes;
    }

    static constexpr std::size_t kStep = 64 * kKiB;
    block::Window payload_;
    codec::SectorCipher cipher_;
    std::uint32_t sector_bytes_;
    std::uint64_t iv_offset_;
    block::Geometry geometry_;
};

// All in front of the payload, in a file of the part's size that only this process has.
Fd copy_of_header(const block::Reader& part, const LuksHeader& header) {
    constexpr std::uint64_t kLargest = 256 * kMiB;  // twice the largest that cryptsetup makes
    constexpr std::uint64_t kStep = kMiB;
    if (header.payload.begin > kLargest)
        throw_error(Code::kRefused, "{}: a LUKS header of {} bytes is larger than any that is made",
                    part.name(), header.payload.begin);
    Fd fd(::memfd_create("dupengine-luks-header", MFD_CLOEXEC));
    if (!fd.valid() || ::ftruncate(fd.get(), static_cast<off_t>(part.geometry().size_bytes)) != 0)
        throw_errno(Code::kInternal, errno, "{}: no memory file for its header", part.name());
    for (ByteOffset at = 0; at < header.payload.begin; at += kStep) {
        const Bytes bytes = block::read_extent(part, {at, std::min(at + kStep, header.payload.begin)});
        if (!is_zero(bytes)) pwrite_exact(fd.get(), at, bytes, Code::kInternal, "memory file");
    }
    return fd;
}

using CryptDevice = std::unique_ptr<crypt_device, decltype(&crypt_free)>;

void say_nothing(int /*level*/, const char* /*text*/, void* /*user*/) {}

CryptDevice load(const std::string& path, const std::string& name) {
    // Of a file in memory nobody else has anything to lock out.
    crypt_metadata_locking(nullptr, 0);
    crypt_set_log_callback(nullptr, say_nothing, nullptr);  // only cli/ prints
    crypt_device* made = nullptr;
    if (const int error = crypt_init(&made, path.c_str()); error < 0)
        throw_errno(Code::kRefused, -error, "{}: libcryptsetup does not look at its header", name);
    CryptDevice device(made, &crypt_free);
    if (const int error = crypt_load(device.get(), CRYPT_LUKS, nullptr); error < 0)
        throw_errno(Code::kRefused, -error, "{}: libcryptsetup does not read its header", name);
    return device;
}

// The volume key if `key` opens a slot. A wrong key, and a slot that is not meant for it, are no errors.
std::optional<Secret> unlock(crypt_device* device, const Secret& key, const std::string& name) {
    Secret volume_key(static_cast<std::size_t>(std::max(crypt_get_volume_key_size(device), 1)));
    std::size_t size = volume_key.size();
    const int slot =
        crypt_volume_key_get(device, CRYPT_ANY_SLOT, volume_key.chars(), &size, key.chars(), key.size());
    if (slot == -EPERM || slot == -ENOENT) return std::nullopt;
    if (slot < 0) throw_errno(Code::kRefused, -slot, "{}: libcryptsetup does not unlock it", name);
    volume_key.shorten(size);
    return volume_key;
}

}  // namespace

Secret read_key_file(const std::string& path) {
    constexpr std::size_t kLargest = 8 * kMiB;
    const Fd fd = open_path(path, O_RDONLY, Code::kRefused);
    struct stat st {};
    if (::fstat(fd.get(), &st) != 0) throw_errno(Code::kRefused, errno, "{}: cannot be examined", path);
    if (!S_ISREG(st.st_mode) || st.st_size <= 0 || static_cast<std::uint64_t>(st.st_size) > kLargest)
        throw_error(Code::kRefused, "{}: is no key file: a regular file of 1 byte to 8 MiB", path);
    forbid_core_dumps();
    Secret key(static_cast<std::size_t>(st.st_size));
    pread_exact(fd.get(), 0, key.all(), Code::kRefused, path);
    return key;
}

bool is_key_file_loose(const std::string& path) {
    struct stat st {};
    return ::stat(path.c_str(), &st) == 0 && (st.st_mode & (S_IRWXG | S_IRWXO)) != 0;
}

Plaintext LuksKeys::find(const block::Reader& part, const LuksHeader& header) {
    Plaintext open = first_.find(part, header);
    if (open.reader != nullptr) return open;
    const Fd copy = copy_of_header(part, header);
    const CryptDevice device = load(fmt::format("/proc/self/fd/{}", copy.get()), part.name());
    for (const Secret& key : keys_) {
        std::optional<Secret> volume_key = unlock(device.get(), key, part.name());
        if (!volume_key) continue;
        if (header.cipher != "aes-xts-plain64")
            return {nullptr, fmt::format("encrypted with {}, which is not understood", header.cipher)};
        return {std::make_unique<DecryptingReader>(part, header, std::move(*volume_key)),
                "opened with the key"};
    }
    throw_error(Code::kRefused, "{}: no key that was given opens this LUKS{} container", part.name(),
                header.version);
}

}  // namespace dupengine::layout
