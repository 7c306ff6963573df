#pragma once
// A part of a disk whose changes lie beside it: reads give what was written here, and what the disk holds
// everywhere else. The disk is never written. The changes are in an unlinked sparse file in $TMPDIR (or
// /var/tmp), which is gone with the process, however it ends. For programs that can work only in place
// (resize2fs) on a source that nobody may change. Reads and writes may come from several threads; the disk
// outlives it.

#include <map>
#include <shared_mutex>

#include "block/device.h"
#include "block/scratch_file.h"

namespace dupengine::block {

class Overlay final : public Reader {
  public:
    /// Throws kRefused if there is no folder for the changes, or less than `room_bytes` free in it.
    Overlay(const Reader& disk, Extent part, std::string name, std::uint64_t room_bytes);

    /// Of the part: offsets count from its start.
    const Geometry& geometry() const override { return geometry_; }
    const std::string& name() const override { return name_; }
    void read(ByteOffset offset, std::span<std::byte> buffer) const override;
    void read_from_medium(ByteOffset offset, std::span<std::byte> buffer) const override;
    void start_read(Transfers& transfers, std::uint64_t tag, ByteOffset offset, std::span<std::byte> buffer,
                    From from) const override;
    Extent next_data(Extent within) const override;

    /// Any alignment. Throws kRefused if the changes find no room, kInternal past the end.
    void write(ByteOffset offset, std::span<const std::byte> buffer);
    std::uint64_t changed_bytes() const;
    /// When all is written, and before any of it counts: what did not get to the disk is an error here, and
    /// read as something else later. Throws kRefused.
    void settle();

  private:
    struct Piece {
        Extent extent;
        bool changed = false;
    };
    Piece piece_at(ByteOffset at, ByteOffset end) const;
    void check(ByteOffset offset, std::size_t size) const;
    void read_pieces(ByteOffset offset, std::span<std::byte> buffer, From from) const;
    void remember(Extent extent);

    const Reader& disk_;
    Extent part_;
    Geometry geometry_;
    std::string name_;
    ScratchFile changes_;  // the changed bytes, where they belong
    mutable std::shared_mutex mutex_;
    std::map<ByteOffset, ByteOffset> changed_;  // begin -> end; disjoint, not touching
};

}  // namespace dupengine::block
