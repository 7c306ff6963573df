#pragma once
// Several disks as one: one behind the other, each from a multiple of kRowAlignment on, and zeros in between.
// So whatever handles one disk at offsets (rounds of changes, questions over the wire) handles the disks of a
// machine as a set, and nothing can be of one of them and not of the others. Each disk of it is seen as a
// disk again at the other end. Threads: as the disks.

#include <vector>

#include "block/device.h"

namespace dupengine::block {

/// What is read, followed and told by digest in whole pieces never belongs to two disks.
inline constexpr std::uint64_t kRowAlignment = 1 << 20;
/// More than a machine has that is duplicated.
inline constexpr std::size_t kMostRowDisks = 64;

/// One disk in a row.
struct RowPlace {
    std::string name;
    Geometry geometry;
    ByteOffset begin = 0;
    Extent extent() const { return {begin, begin + geometry.size_bytes}; }
};

/// What of `extents` lies on the disk at this place, in offsets of that disk.
ExtentSet on_disk(const ExtentSet& extents, const RowPlace& place);

class DiskRow final : public Reader {
  public:
    /// All outlive it.
    explicit DiskRow(std::vector<const Reader*> disks);
    const std::vector<RowPlace>& places() const { return places_; }

    const Geometry& geometry() const override { return geometry_; }
    /// "/dev/sda, /dev/sdb".
    const std::string& name() const override { return name_; }
    void read(ByteOffset offset, std::span<std::byte> buffer) const override;
    void read_from_medium(ByteOffset offset, std::span<std::byte> buffer) const override;

  private:
    void read_parts(ByteOffset offset, std::span<std::byte> buffer, From from) const;
    std::vector<const Reader*> disks_;
    std::vector<RowPlace> places_;
    Geometry geometry_;
    std::string name_;
};

/// One disk of a row, perhaps of one that is far away. `row` outlives it.
class DiskOfRow final : public Reader {
  public:
    DiskOfRow(const Reader& row, RowPlace place);
    const Geometry& geometry() const override { return place_.geometry; }
    const std::string& name() const override { return place_.name; }
    void read(ByteOffset offset, std::span<std::byte> buffer) const override { window_.read(offset, buffer); }
    void read_from_medium(ByteOffset offset, std::span<std::byte> buffer) const override {
        window_.read_from_medium(offset, buffer);
    }
    void start_read(Transfers& transfers, std::uint64_t tag, ByteOffset offset, std::span<std::byte> buffer,
                    From from) const override {
        window_.start_read(transfers, tag, offset, buffer, from);
    }
    Extent next_data(Extent within) const override { return window_.next_data(within); }
    void expect(const ExtentSet& data) const override;
    std::uint64_t known_piece_bytes() const override { return row_.known_piece_bytes(); }
    bool holds(ByteOffset offset, std::span<const std::byte> bytes) const override {
        return row_.holds(place_.begin + offset, bytes);
    }
    bool will_read(Extent extent) const override {
        return row_.will_read({place_.begin + extent.begin, place_.begin + extent.end});
    }
    std::optional<std::string> known_signature(Extent part) const override {
        return window_.known_signature(part);
    }

  private:
    const Reader& row_;
    RowPlace place_;
    Window window_;
};

}  // namespace dupengine::block
