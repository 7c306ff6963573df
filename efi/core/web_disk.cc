#include "efi/core/web_disk.h"

#include "efi/core/boot_file.h"

namespace dupengine::efi {

bool WebDisk::load(std::uint64_t number) {
    if (loaded_ == number) return true;
    loaded_.reset();
    const Buffer whole = piece_.first(digests_.bytes_of(number));
    fault_ =
        ask_patiently(firmware_, [&] { return firmware_.fetch_part(url_, address_, number * kMiB, whole); });
    if (fault_.empty() && !digests_.hold(number, whole))
        fault_ = "the image on the server is not what its digests say";
    if (!fault_.empty()) return false;
    loaded_ = number;
    return true;
}

bool WebDisk::read(std::uint64_t offset, Buffer buffer) {
    if (offset > size_bytes() || buffer.size() > size_bytes() - offset) return false;
    while (!buffer.empty()) {
        const std::uint64_t number = offset / kMiB;
        if (!load(number)) return false;
        const Buffer rest = piece_.first(digests_.bytes_of(number)).subspan(offset % kMiB);
        const std::size_t bytes = rest.size() < buffer.size() ? rest.size() : buffer.size();
        __builtin_memcpy(buffer.data(), rest.data(), bytes);
        buffer = buffer.subspan(bytes);
        offset += bytes;
    }
    return true;
}

}  // namespace dupengine::efi
