#include "efi/firmware/images.h"

#include "efi/core/device_path.h"

namespace dupengine::efi {
namespace {

constexpr std::size_t kLongestOptions = 4096;

TextView set_options(BootServices& boot, Handle image, TextView options, Pool& memory) {
    if (options.empty()) return {};
    auto* loaded = protocol_of<LoadedImage>(boot, image, kLoadedImageProtocol);
    if (loaded == nullptr || options.size() >= kLongestOptions || !memory.allocate(2 * (options.size() + 1)))
        return "its command line cannot be given to it";
    auto* characters = reinterpret_cast<char16_t*>(memory.all().data());
    to_utf16(options, false, {characters, options.size() + 1});
    loaded->load_options = characters;
    loaded->load_options_bytes = static_cast<std::uint32_t>(memory.all().size());
    return {};
}

}  // namespace

TextView run_program(BootServices& boot, Handle self, const ProgramSource& source, TextView options) {
    Pool path(boot), characters(boot);
    if (!path.allocate(2 * kLongestDevicePath)) return status_text(kOutOfResources);
    const Bytes whole = file_path(path_of(boot, source.partition), source.path, path.all());
    if (whole.empty()) return "its path is too long";
    Handle image = nullptr;
    const Status loaded =
        boot.load_image(false, self, reinterpret_cast<DevicePath*>(path.all().data()),
                        const_cast<std::byte*>(source.content.data()), source.content.size(), &image);
    if (loaded != kSuccess) {
        // With a violation there is an image, too.
        if (loaded == kSecurityViolation && image != nullptr) boot.unload_image(image);
        return status_text(loaded);
    }
    if (const TextView reason = set_options(boot, image, options, characters); !reason.empty()) {
        boot.unload_image(image);
        return reason;
    }
    return status_text(boot.start_image(image, nullptr, nullptr));
}

OfferedInitrd::OfferedInitrd(BootServices& boot, Bytes content) : boot_(boot), content_(content) {
    // A vendor's media node (UEFI 2.10, 10.3.5.3), and the end.
    path_[0] = std::byte{4}, path_[1] = std::byte{3}, path_[2] = std::byte{20};
    for (std::size_t i = 0; i < kLinuxInitrdMedia.bytes.size(); ++i)
        path_[4 + i] = std::byte{kLinuxInitrdMedia.bytes[i]};
    path_[20] = std::byte{0x7f}, path_[21] = std::byte{0xff}, path_[22] = std::byte{4};
    if (boot.install_protocol(&handle_, &kDevicePathProtocol, 0, path_.data()) != kSuccess) return;
    offered_ = boot.install_protocol(&handle_, &kLoadFile2Protocol, 0, &protocol_) == kSuccess;
}

OfferedInitrd::~OfferedInitrd() {
    if (offered_) boot_.uninstall_protocol(handle_, &kLoadFile2Protocol, &protocol_);
    if (handle_ != nullptr) boot_.uninstall_protocol(handle_, &kDevicePathProtocol, path_.data());
}

Status OfferedInitrd::load(LoadFile2* self, DevicePath*, bool boot_policy, std::uint64_t* bytes,
                           void* buffer) {
    if (self == nullptr || bytes == nullptr) return kInvalidParameter;
    if (boot_policy) return kUnsupported;
    const Bytes content = reinterpret_cast<OfferedInitrd*>(self)->content_;
    const std::uint64_t room = *bytes;
    *bytes = content.size();
    if (buffer == nullptr || room < content.size()) return kBufferTooSmall;
    __builtin_memcpy(buffer, content.data(), content.size());
    return kSuccess;
}

}  // namespace dupengine::efi
