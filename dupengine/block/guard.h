#pragma once
// The guard: the only way to a writable target. It refuses, as an error of the run, every write or zeroing
// that touches a protected region, checks bounds and sector alignment, and counts what is written. Nothing
// outside block/ (and the fakes of tests) ever holds a Device; all code that writes takes a `Target&`. Writes
// to disjoint ranges may run in parallel from several threads; regions never change after construction.

#include <atomic>
#include <memory>
#include <string>
#include <vector>

#include "block/device.h"

namespace dupengine::block {

/// Named extents that no copy may write.
class ProtectedRegions {
  public:
    struct Region {
        std::string name;  ///< as a person knows it: "profile (partition 4)"
        Extent extent;
    };

    void add(std::string name, Extent extent);
    const std::vector<Region>& regions() const { return regions_; }
    bool empty() const { return regions_.empty(); }
    /// The first region that `extent` touches, or null.
    const Region* touched_by(Extent extent) const;
    ExtentSet extents() const;

    /// Everything but `writable` on a disk of `size_bytes`: for tools that may change one partition only.
    static ProtectedRegions all_except(Extent writable, std::uint64_t size_bytes, const std::string& name);
    /// The same for several writable ranges (the two copies of a partition table).
    static ProtectedRegions all_except(const ExtentSet& writable, std::uint64_t size_bytes,
                                       const std::string& name);

  private:
    std::vector<Region> regions_;
};

class Target final : public Reader {
  public:
    /// Throws kRefused if a region passes the end of the device.
    Target(std::unique_ptr<Device> device, ProtectedRegions regions);

    const Geometry& geometry() const override { return device_->geometry(); }
    const std::string& name() const override { return device_->name(); }
    void read(ByteOffset offset, std::span<std::byte> buffer) const override {
        device_->read(offset, buffer);
    }
    void read_from_medium(ByteOffset offset, std::span<std::byte> buffer) const override {
        device_->read_from_medium(offset, buffer);
    }
    void start_read(Transfers& transfers, std::uint64_t tag, ByteOffset offset, std::span<std::byte> buffer,
                    From from) const override {
        device_->start_read(transfers, tag, offset, buffer, from);
    }
    Extent next_data(Extent within) const override { return device_->next_data(within); }
    bool has_data(Extent within) const override { return device_->has_data(within); }
    int native_fd() const override { return device_->native_fd(); }

    /// Offset and size must be multiples of the logical sector (the last sector of an odd-sized file
    /// excepted). Throws kRefused, before anything is written, if a protected region is touched; kTargetIo if
    /// it fails.
    void write(ByteOffset offset, std::span<const std::byte> buffer);
    /// As write, and refused as early, but may return before it is done (Transfers).
    void start_write(Transfers& transfers, std::uint64_t tag, ByteOffset offset,
                     std::span<const std::byte> buffer);
    void zero(Extent extent, Device::Zeroing how);
    void flush() { device_->flush(); }

    const ProtectedRegions& protected_regions() const { return regions_; }
    std::uint64_t bytes_written() const { return written_.load(std::memory_order_relaxed); }
    std::uint64_t bytes_zeroed() const { return zeroed_.load(std::memory_order_relaxed); }

  private:
    void check(Extent extent, const char* verb) const;
    std::unique_ptr<Device> device_;
    ProtectedRegions regions_;
    std::atomic<std::uint64_t> written_{0};
    std::atomic<std::uint64_t> zeroed_{0};
};

}  // namespace dupengine::block
