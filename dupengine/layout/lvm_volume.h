#pragma once
// A logical volume as one stretch of bytes, and back: which bytes of the physical volumes hold a part of it.
// Stripes are computed, not listed: there may be millions of them. Internal to layout/. Never writes; may be
// read from any thread.

#include <string>
#include <vector>

#include "block/device.h"
#include "layout/lvm_group.h"

namespace dupengine::layout {

class LvmVolumeReader final : public block::Reader {
  public:
    /// `parts[i]` is what physical volume i of the group lies on; all that the volume uses are there. Both
    /// outlive the reader.
    LvmVolumeReader(const LvmLogicalVolume& volume, const std::vector<const block::Reader*>& parts);

    const block::Geometry& geometry() const override { return geometry_; }
    const std::string& name() const override { return volume_.name; }
    void read(ByteOffset offset, std::span<std::byte> buffer) const override;

    /// Adds to places[i] what of physical volume i holds the bytes `used` of the volume.
    void add_places(const block::ExtentSet& used, std::vector<block::ExtentSet>& places) const;

  private:
    const LvmLogicalVolume& volume_;
    const std::vector<const block::Reader*>& parts_;
    block::Geometry geometry_;
};

}  // namespace dupengine::layout
