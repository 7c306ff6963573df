#pragma once
// A disk whose own damage is told apart from damage that is found in it. Who reads structures takes
// kIntegrity for "these are odd" and goes on with something more careful; when the disk itself throws it (an
// image that does not have the bytes it promised, a pipe that was cut) there is nothing to go on with. So the
// first such error is remembered, whatever becomes of it on its way. From any thread.

#include <mutex>
#include <optional>

#include "block/device.h"

namespace dupengine::layout {

class DamageWatch final : public block::Reader {
  public:
    /// The disk outlives it.
    explicit DamageWatch(const block::Reader& disk) : disk_(disk) {}

    /// Throws the first kIntegrity that the disk has thrown.
    void throw_if_damaged() const;

    const block::Geometry& geometry() const override { return disk_.geometry(); }
    const std::string& name() const override { return disk_.name(); }
    void read(ByteOffset offset, std::span<std::byte> buffer) const override;
    void read_from_medium(ByteOffset offset, std::span<std::byte> buffer) const override;
    block::Extent next_data(block::Extent within) const override;
    bool has_data(block::Extent within) const override;
    std::optional<std::string> known_signature(block::Extent part) const override;
    int native_fd() const override { return disk_.native_fd(); }
    ByteOffset native_offset() const override { return disk_.native_offset(); }

  private:
    template <typename Ask>
    auto watch(const Ask& ask) const;

    const block::Reader& disk_;
    mutable std::mutex mutex_;
    mutable std::optional<Error> damage_;
};

}  // namespace dupengine::layout
