// The header of a qcow2 file (docs/interop/qcow2.txt of QEMU): what it may ask of the program that reads it.

#include "image/foreign/foreign_disk.h"

namespace dupengine::image {
namespace {

// Names of other files would be opened on this machine, with our rights, by whoever reads the image.
constexpr std::uint64_t kDirty = 1, kCorrupt = 2, kExternalData = 4, kCompressionType = 8, kExtendedL2 = 16;
constexpr std::uint32_t kExternalDataName = 0x44415441;

// Extensions stand behind the header: type, length, that many bytes filled up to a multiple of 8; type 0 ends
// them.
bool names_data_file(std::span<const std::byte> begin, std::size_t at) {
    while (at + 8 <= begin.size()) {
        const auto type = load_be<std::uint32_t>(begin, at);
        const std::uint64_t length = load_be<std::uint32_t>(begin, at + 4);
        if (type == 0) return false;
        if (type == kExternalDataName) return true;
        if (length > begin.size()) return false;
        at += 8 + align_up(length, 8);
    }
    return false;
}

}  // namespace

void check_qcow2_header(std::span<const std::byte> begin, const std::string& name) {
    constexpr std::size_t kHeaderOfVersion2 = 72, kHeaderOfVersion3 = 104;
    if (begin.size() < kHeaderOfVersion3 || as_text(begin).substr(0, 4) != "QFI\xfb")
        throw_error(Code::kRefused, "{}: its header changed, or is cut off", name);
    const auto version = load_be<std::uint32_t>(begin, 4);
    if (version != 2 && version != 3)
        throw_error(Code::kUnsupported, "{}: qcow2 of version {}; 2 and 3 are known", name, version);
    if (load_be<std::uint64_t>(begin, 8) != 0)
        throw_error(
            Code::kRefused,
            "{}: has a backing file, which would be read from this machine's files; make one image of "
            "both first (qemu-img convert -O qcow2)",
            name);
    if (load_be<std::uint32_t>(begin, 32) != 0)
        throw_error(Code::kRefused, "{}: is encrypted; decrypt it first (qemu-img convert)", name);
    const std::uint64_t features = version == 3 ? load_be<std::uint64_t>(begin, 72) : 0;
    const std::size_t header = version == 3 ? load_be<std::uint32_t>(begin, 100) : kHeaderOfVersion2;
    if ((features & kExternalData) != 0 || names_data_file(begin, header))
        throw_error(
            Code::kRefused,
            "{}: has its data in another file, which would be read from this machine's files; make one "
            "image of both first (qemu-img convert -O qcow2)",
            name);
    if ((features & kCorrupt) != 0)
        throw_error(Code::kRefused, "{}: is marked as corrupt; see qemu-img check", name);
    if ((features & ~(kDirty | kCorrupt | kExternalData | kCompressionType | kExtendedL2)) != 0)
        throw_error(Code::kUnsupported, "{}: has features that are not known here ({:#x})", name, features);
}

}  // namespace dupengine::image
