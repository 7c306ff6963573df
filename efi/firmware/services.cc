#include "efi/firmware/services.h"

#include "efi/core/device_path.h"

namespace dupengine::efi {

bool Pool::allocate(std::uint64_t bytes) {
    free();
    if (boot_.allocate_pool(MemoryType::kLoaderData, bytes, &memory_) != kSuccess) {
        memory_ = nullptr;
        return false;
    }
    bytes_ = bytes;
    return true;
}

void Pool::free() {
    if (memory_ != nullptr) boot_.free_pool(memory_);
    memory_ = nullptr;
    bytes_ = 0;
}

Handles::Handles(BootServices& boot, const Guid* protocol) : boot_(boot) {
    const SearchType type = protocol == nullptr ? SearchType::kAllHandles : SearchType::kByProtocol;
    if (boot.locate_handles(type, protocol, nullptr, &count_, &handles_) != kSuccess) count_ = 0;
}

Handles::~Handles() {
    if (handles_ != nullptr) boot_.free_pool(handles_);
}

Bytes path_of(BootServices& boot, Handle handle) {
    const auto* path = protocol_of<std::byte>(boot, handle, kDevicePathProtocol);
    return path == nullptr ? Bytes() : path_nodes({path, kLongestDevicePath});
}

TextView status_text(Status status) {
    switch (status) {
        case kSuccess:
            return "it ended";
        case kLoadError:
        case kUnsupported:
            return "it is no program that this firmware can run";
        case kDeviceError:
            return "the device fails";
        case kVolumeCorrupted:
            return "its file system is damaged";
        case kOutOfResources:
            return "there is not enough memory";
        case kNotFound:
            return "it is not there";
        case kAccessDenied:
        case kSecurityViolation:
            return "Secure Boot does not allow it";
        case kAborted:
            return "it gave up";
        default:
            return "it ended with an error";
    }
}

}  // namespace dupengine::efi
