#pragma once
// Devices for tests: memory that counts and can fail. They stand in wherever a Reader or a Device is wanted,
// so that faults at every step need no root and no real disk. One device may be used from several threads.

#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "block/guard.h"

namespace dupengine::test {

/// The bytes of a fake disk, kept by the test while devices come and go (power cuts).
struct DiskBytes {
    explicit DiskBytes(std::uint64_t size) : content(size) {}
    Bytes content;
};

enum class Operation { kRead, kReadFromMedium, kWrite, kZero, kFlush };

struct Call {
    Operation operation;
    block::Extent extent;
};

/// Called before each operation takes effect; throws to make it fail. `number` counts from 0 over all
/// operations.
using Interceptor = std::function<void(std::size_t number, const Call& call)>;

class MemoryDevice final : public block::Device {
  public:
    explicit MemoryDevice(std::shared_ptr<DiskBytes> bytes, std::uint32_t sector_bytes = 512,
                          std::string name = "memory");
    explicit MemoryDevice(std::uint64_t size, std::uint32_t sector_bytes = 512)
        : MemoryDevice(std::make_shared<DiskBytes>(size), sector_bytes) {}

    const block::Geometry& geometry() const override { return geometry_; }
    const std::string& name() const override { return name_; }
    void read(ByteOffset offset, std::span<std::byte> buffer) const override;
    void read_from_medium(ByteOffset offset, std::span<std::byte> buffer) const override;
    void write(ByteOffset offset, std::span<const std::byte> buffer) override;
    void zero(block::Extent extent, Zeroing how) override;
    void flush() override;

    void set_interceptor(Interceptor interceptor) { interceptor_ = std::move(interceptor); }
    /// All operations so far, in order.
    std::vector<Call> calls() const;
    std::shared_ptr<DiskBytes> bytes() const { return bytes_; }

  private:
    void note(Operation operation, block::Extent extent) const;
    std::shared_ptr<DiskBytes> bytes_;
    block::Geometry geometry_;
    std::string name_;
    Interceptor interceptor_;
    mutable std::mutex mutex_;
    mutable std::vector<Call> calls_;
};

/// Fills with bytes that depend on the seed and never are all zero in any 512.
void fill_pattern(std::span<std::byte> bytes, std::uint64_t seed);

/// Loads a file (an image that a real mkfs made) into memory.
std::shared_ptr<DiskBytes> load_file(const std::string& path);

}  // namespace dupengine::test
