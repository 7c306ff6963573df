#pragma once
// Memory, handles and error texts of UEFI's boot services, with owners for what has to be given back.

#include "efi/core/bytes.h"
#include "efi/firmware/protocols.h"

namespace dupengine::efi {

/// Memory of the firmware's pool.
class Pool {
  public:
    explicit Pool(BootServices& boot) : boot_(boot) {}
    ~Pool() { free(); }
    Pool(const Pool&) = delete;
    Pool& operator=(const Pool&) = delete;

    /// In place of what it held before. False: there is not so much.
    bool allocate(std::uint64_t bytes);
    void free();
    Buffer all() const { return {static_cast<std::byte*>(memory_), bytes_}; }

  private:
    BootServices& boot_;
    void* memory_ = nullptr;
    std::size_t bytes_ = 0;
};

/// All handles with a protocol, or all there are.
class Handles {
  public:
    Handles(BootServices& boot, const Guid* protocol);
    ~Handles();
    Handles(const Handles&) = delete;
    Handles& operator=(const Handles&) = delete;
    std::span<Handle> all() const { return {handles_, count_}; }

  private:
    BootServices& boot_;
    Handle* handles_ = nullptr;
    std::uint64_t count_ = 0;
};

/// A handle's protocol, or null.
template <typename Protocol>
Protocol* protocol_of(BootServices& boot, Handle handle, const Guid& protocol) {
    void* found = nullptr;
    return boot.handle_protocol(handle, &protocol, &found) == kSuccess ? static_cast<Protocol*>(found)
                                                                       : nullptr;
}

/// The nodes of a handle's device path (device_path.h); nothing if it has none.
Bytes path_of(BootServices& boot, Handle handle);

/// What a person reads for a status: "not found".
TextView status_text(Status status);

}  // namespace dupengine::efi
