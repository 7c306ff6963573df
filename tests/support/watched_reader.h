#pragma once
// A disk whose reads somebody hears of, before they are done: for what happens just then.

#include <functional>

#include "block/device.h"

namespace dupengine::test {

class WatchedReader final : public block::Reader {
  public:
    WatchedReader(const block::Reader& disk, std::function<void()> before_read)
        : disk_(disk), before_read_(std::move(before_read)) {}
    const block::Geometry& geometry() const override { return disk_.geometry(); }
    const std::string& name() const override { return disk_.name(); }
    void read(ByteOffset offset, std::span<std::byte> buffer) const override {
        before_read_();
        disk_.read(offset, buffer);
    }
    void read_from_medium(ByteOffset offset, std::span<std::byte> buffer) const override {
        before_read_();
        disk_.read_from_medium(offset, buffer);
    }

  private:
    const block::Reader& disk_;
    std::function<void()> before_read_;
};

}  // namespace dupengine::test
