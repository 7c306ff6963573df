#include "block/held_back.h"

#include "base/copy_bytes.h"

namespace dupengine::block {
namespace {

class HeldDevice final : public Device {
  public:
    HeldDevice(std::unique_ptr<Device> device, std::shared_ptr<HeldBytes> held)
        : device_(std::move(device)), held_(std::move(held)) {}

    const Geometry& geometry() const override { return device_->geometry(); }
    const std::string& name() const override { return device_->name(); }
    void read(ByteOffset offset, std::span<std::byte> buffer) const override {
        device_->read(offset, buffer);
        held_->show(offset, buffer);
    }
    void write(ByteOffset offset, std::span<const std::byte> buffer) override {
        for (const Extent e : held_->places().gaps_in({offset, offset + buffer.size()}))
            device_->write(e.begin, buffer.subspan(e.begin - offset, e.size()));
        held_->change(offset, buffer);
    }
    void zero(Extent extent, Zeroing how) override {
        for (const Extent e : held_->places().gaps_in(extent))
            device_->zero(e, how);
        for (const Extent e : held_->places().clipped_to(extent))
            held_->change(e.begin, Bytes(e.size()));
    }
    void flush() override { device_->flush(); }

  private:
    std::unique_ptr<Device> device_;
    std::shared_ptr<HeldBytes> held_;
};

}  // namespace

void HeldBytes::add(ByteOffset offset, Bytes content) {
    const Extent place{offset, checked_add(offset, content.size(), "held bytes")};
    if (places_.touches(place)) throw_error(Code::kIntegrity, "{} is held back twice", place.text());
    places_.insert(place);
    pieces_.push_back({place, std::move(content)});
}

void HeldBytes::show(ByteOffset offset, std::span<std::byte> buffer) const {
    for (const Piece& piece : pieces_) {
        const Extent both = piece.place.clipped_to({offset, offset + buffer.size()});
        if (both.empty()) continue;
        copy_bytes(std::span(piece.content).subspan(both.begin - piece.place.begin, both.size()),
                   buffer.subspan(both.begin - offset, both.size()));
    }
}

void HeldBytes::change(ByteOffset offset, std::span<const std::byte> buffer) {
    for (Piece& piece : pieces_) {
        const Extent both = piece.place.clipped_to({offset, offset + buffer.size()});
        if (both.empty()) continue;
        copy_bytes(buffer.subspan(both.begin - offset, both.size()),
                   std::span(piece.content).subspan(both.begin - piece.place.begin, both.size()));
    }
}

std::unique_ptr<Device> with_held(std::unique_ptr<Device> device, std::shared_ptr<HeldBytes> held) {
    return std::make_unique<HeldDevice>(std::move(device), std::move(held));
}

}  // namespace dupengine::block
