#pragma once
// A disk before the operating system. Two implementations: the firmware's, and memory in tests. Who writes
// does it through the guard (guard.h).

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

class WritableDisk : public Disk {
  public:
    virtual bool read_only() const = 0;
    /// As read(). False if it could not be written, or not made durable.
    virtual bool write(std::uint64_t offset, Bytes bytes) = 0;
    virtual bool flush() = 0;

  protected:
    ~WritableDisk() = default;
};

}  // namespace dupengine::efi
