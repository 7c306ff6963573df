#pragma once
// The ends of ext's inode tables that no inode was ever taken from: the kernel zeroes them in its own time.
// Group descriptors say where they begin. That is a hint, which e2fsck itself takes for wrong where an inode
// in use lies behind it, so it is believed only where the inode bitmap or the counts agree. Internal to
// layout/. Used by one thread at a time.

#include "block/device.h"
#include "layout/ext_bitmaps.h"
#include "layout/ext_filesystem.h"
#include "layout/ext_super.h"

namespace dupengine::layout {

class BlankInodes {
  public:
    BlankInodes(const block::Reader& part, const ExtGeometry& geometry, const ExtFilesystem& filesystem);

    /// The blocks of the table of `group`, whose descriptor is known to match its checksum, that lie wholly
    /// in its blank end; empty if there are none. Throws kIntegrity where the group contradicts itself.
    block::Extent find(std::uint64_t group);

  private:
    bool none_used(std::uint64_t group) const;
    std::uint64_t unused(std::uint64_t group) const;
    std::vector<std::uint64_t> bitmap_blocks() const;
    void check_bitmap(std::uint64_t group, std::span<std::byte> bitmap, std::uint64_t unused) const;

    const ExtGeometry& geometry_;
    const ExtFilesystem& filesystem_;
    BitmapReader bitmaps_;
};

}  // namespace dupengine::layout
