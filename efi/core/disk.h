#pragma once
// A disk as far as it is looked at before the operating system. Two implementations: the firmware's, and
// memory in tests.

#include "efi/core/bytes.h"

namespace dupengine::efi {

class Disk {
  public:
    virtual std::uint64_t size_bytes() const = 0;
    virtual std::uint32_t sector_bytes() const = 0;
    /// Offset and size are multiples of the sector. False if it could not be read.
    virtual bool read(std::uint64_t offset, Buffer buffer) = 0;

  protected:
    ~Disk() = default;
};

}  // namespace dupengine::efi
