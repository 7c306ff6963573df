#include "block/device.h"

#include "block/transfers.h"

namespace dupengine::block {

void Reader::start_read(Transfers& transfers, std::uint64_t tag, ByteOffset offset,
                        std::span<std::byte> buffer, From from) const {
    if (from == From::kMedium)
        read_from_medium(offset, buffer);
    else
        read(offset, buffer);
    transfers.done(tag);
}

void Device::start_write(Transfers& transfers, std::uint64_t tag, ByteOffset offset,
                         std::span<const std::byte> buffer) {
    write(offset, buffer);
    transfers.done(tag);
}

Bytes read_extent(const Reader& reader, Extent extent) {
    Bytes content(extent.size());
    reader.read(extent.begin, content);
    return content;
}

Window::Window(const Reader& whole, Extent part, std::string name)
    : whole_(whole), part_(part), geometry_(whole.geometry()), name_(std::move(name)) {
    if (part.end < part.begin || part.end > whole.geometry().size_bytes)
        throw_error(Code::kSourceIo, "{}: {} lies outside {} ({} bytes)", name_, part.text(), whole.name(),
                    whole.geometry().size_bytes);
    geometry_.size_bytes = part.size();
}

void Window::check(ByteOffset offset, std::size_t size) const {
    if (offset > part_.size() || part_.size() - offset < size)
        throw_error(Code::kSourceIo, "{}: {} bytes at {} pass its end ({} bytes)", name_, size, offset,
                    part_.size());
}

void Window::read(ByteOffset offset, std::span<std::byte> buffer) const {
    check(offset, buffer.size());
    whole_.read(part_.begin + offset, buffer);
}

void Window::read_from_medium(ByteOffset offset, std::span<std::byte> buffer) const {
    check(offset, buffer.size());
    whole_.read_from_medium(part_.begin + offset, buffer);
}

void Window::start_read(Transfers& transfers, std::uint64_t tag, ByteOffset offset,
                        std::span<std::byte> buffer, From from) const {
    check(offset, buffer.size());
    whole_.start_read(transfers, tag, part_.begin + offset, buffer, from);
}

Extent Window::next_data(Extent within) const {
    const Extent inside = within.clipped_to({0, part_.size()});
    if (inside.empty()) return {};
    const Extent found = whole_.next_data({part_.begin + inside.begin, part_.begin + inside.end});
    if (found.empty()) return {};
    return {found.begin - part_.begin, found.end - part_.begin};
}

}  // namespace dupengine::block
