#pragma once
// Bytes of a disk that are not on its medium yet: a copy holds back what makes firmware and kernels take it
// for a disk, and whoever ends the copy has them. A device that is given them is the disk as it will be:
// reads show them, and what is written to their places changes them, and nothing on the medium.
//
// Used by one thread.

#include <memory>
#include <vector>

#include "block/device.h"

namespace dupengine::block {

class HeldBytes {
  public:
    /// Throws kIntegrity if it touches what is held already.
    void add(ByteOffset offset, Bytes content);
    const ExtentSet& places() const { return places_; }
    /// Lays them over what was read at `offset`.
    void show(ByteOffset offset, std::span<std::byte> buffer) const;
    /// Changes those that lie within.
    void change(ByteOffset offset, std::span<const std::byte> buffer);

  private:
    struct Piece {
        Extent place;
        Bytes content;
    };
    std::vector<Piece> pieces_;
    ExtentSet places_;
};

std::unique_ptr<Device> with_held(std::unique_ptr<Device> device, std::shared_ptr<HeldBytes> held);

}  // namespace dupengine::block
