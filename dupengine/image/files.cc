#include "image/files.h"

namespace dupengine::image {

Bytes read_whole(const Files& files, const std::string& file, std::size_t limit_bytes) {
    const auto size = files.size_of(file);
    if (!size) throw_error(Code::kIntegrity, "{}: {} is missing", files.name(), file);
    if (*size > limit_bytes)
        throw_error(Code::kIntegrity, "{}: {} is too large to be one of a store: {} bytes", files.name(),
                    file, *size);
    Bytes bytes(*size);
    files.read(file, 0, bytes);
    return bytes;
}

}  // namespace dupengine::image
