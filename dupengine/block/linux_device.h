#pragma once
// A Linux block device or a regular file as a Device. Private to block/: others use open.h, and get a Reader
// or the guard. Large aligned transfers go past the page cache (O_DIRECT) where the file system allows; all
// else goes through it. Parallel transfers of disjoint ranges are allowed.

#include <memory>
#include <optional>
#include <string>

#include "base/fd.h"
#include "block/device.h"
#include "block/hole_map.h"
#include "block/transfers.h"

namespace dupengine::block {

class LinuxDevice final : public Device, private Finisher {
  public:
    enum class Access { kRead, kWrite };
    LinuxDevice(const std::string& path, Access access, std::optional<std::uint32_t> sector_bytes);

    const Geometry& geometry() const override { return geometry_; }
    const std::string& name() const override { return name_; }
    void read(ByteOffset offset, std::span<std::byte> buffer) const override;
    void read_from_medium(ByteOffset offset, std::span<std::byte> buffer) const override;
    void start_read(Transfers& transfers, std::uint64_t tag, ByteOffset offset, std::span<std::byte> buffer,
                    From from) const override;
    Extent next_data(Extent within) const override;
    bool has_data(Extent within) const override;
    int native_fd() const override { return cached_.get(); }
    void write(ByteOffset offset, std::span<const std::byte> buffer) override;
    void start_write(Transfers& transfers, std::uint64_t tag, ByteOffset offset,
                     std::span<const std::byte> buffer) override;
    void zero(Extent extent, Zeroing how) override;
    void flush() override;

  private:
    void finish_read(ByteOffset offset, std::span<std::byte> buffer, int error) const override;
    void finish_write(ByteOffset offset, std::span<const std::byte> buffer, int error) const override;
    void find_geometry(std::optional<std::uint32_t> sector_bytes);
    std::size_t alignment() const;
    bool is_aligned(ByteOffset offset, const void* buffer, std::size_t size) const;
    void read_cold(ByteOffset offset, std::span<std::byte> buffer) const;
    void write_zeros(Extent extent);

    std::string name_;
    Code code_;  // whose fault an error is
    Fd cached_;  // through the page cache
    Fd direct_;  // past it; not valid where the file system refuses O_DIRECT
    Geometry geometry_;
    std::unique_ptr<HoleMap> holes_;  // of a file
};

}  // namespace dupengine::block
