#include "bootloader_hooks/media/linux_image.h"

#include "base/bytes.h"
#include "base/error.h"

namespace dupengine::boot {
namespace {

// Offsets in the file. The text that kVersion points to begins 0x200 later, and ends with a zero.
constexpr std::size_t kMagicAt = 0x202, kVersionAt = 0x20e, kVersionBase = 0x200;
constexpr std::string_view kMagic = "HdrS";
constexpr std::size_t kLongest = 128;

}  // namespace

std::string kernel_version(std::string_view image, const std::string& name) {
    if (image.size() < kVersionAt + 2 || image.substr(kMagicAt, kMagic.size()) != kMagic)
        throw_error(Code::kUsage, "{}: is no Linux kernel for x86", name);
    const std::size_t pointer = load_le<std::uint16_t>(as_bytes(image), kVersionAt);
    const std::size_t begin = pointer + kVersionBase;
    if (pointer == 0 || begin >= image.size())
        throw_error(Code::kUsage, "{}: does not say which version it is", name);
    const std::string_view text = image.substr(begin, kLongest);
    return std::string(text.substr(0, text.find_first_of(std::string_view(" \0\n", 3))));
}

}  // namespace dupengine::boot
