#include "wire/fields.h"

#include <algorithm>

#include "wire/message.h"

namespace dupengine::wire {

using block::Extent;

void FieldWriter::number32(std::uint32_t value) {
    bytes_.resize(bytes_.size() + sizeof value);
    store_le<std::uint32_t>(bytes_, bytes_.size() - sizeof value, value);
}

void FieldWriter::number64(std::uint64_t value) {
    bytes_.resize(bytes_.size() + sizeof value);
    store_le<std::uint64_t>(bytes_, bytes_.size() - sizeof value, value);
}

void FieldWriter::short_number(std::uint64_t value) {
    for (; value >= 0x80; value >>= 7)
        number8(static_cast<std::uint8_t>(value | 0x80));
    number8(static_cast<std::uint8_t>(value));
}

void FieldWriter::text(std::string_view text) {
    short_number(text.size());
    raw(as_bytes(text));
}

void FieldWriter::extents(std::span<const Extent> extents) {
    short_number(extents.size());
    ByteOffset at = 0;
    for (Extent e : extents) {
        short_number(e.begin - at);
        short_number(e.size());
        at = e.end;
    }
}

std::span<const std::byte> FieldReader::raw(std::size_t size) {
    if (size > left_.size()) throw_not_honest("a message that ends too early");
    const auto bytes = left_.first(size);
    left_ = left_.subspan(size);
    return bytes;
}

std::uint8_t FieldReader::number8() {
    return static_cast<std::uint8_t>(raw(1).front());
}

std::uint32_t FieldReader::number32() {
    return load_le<std::uint32_t>(raw(sizeof(std::uint32_t)), 0);
}

std::uint64_t FieldReader::number64() {
    return load_le<std::uint64_t>(raw(sizeof(std::uint64_t)), 0);
}

std::uint64_t FieldReader::short_number() {
    std::uint64_t value = 0;
    for (unsigned shift = 0; shift < 64; shift += 7) {
        const std::uint64_t group = number8();
        const std::uint64_t bits = group & 0x7f;
        if (shift == 63 && bits > 1) break;
        value |= bits << shift;
        if (group < 0x80) return value;
    }
    throw_not_honest("a number that is too large");
}

bool FieldReader::flag() {
    const std::uint8_t value = number8();
    if (value > 1) throw_not_honest("neither yes nor no");
    return value == 1;
}

codec::Sha256 FieldReader::digest() {
    codec::Sha256 digest{};
    std::ranges::copy(raw(digest.size()), digest.begin());
    return digest;
}

std::string FieldReader::text(std::size_t limit) {
    const std::uint64_t size = short_number();
    if (size > limit) throw_not_honest("a text that is too long");
    return std::string(as_text(raw(size)));
}

std::vector<Extent> FieldReader::extents(std::size_t limit) {
    const std::uint64_t count = short_number();
    // An extent takes two bytes at least: no memory for what cannot follow.
    if (count > limit || count > left_.size() / 2) throw_not_honest("too many extents");
    std::vector<Extent> extents;
    extents.reserve(count);
    ByteOffset at = 0;
    for (std::uint64_t i = 0; i < count; ++i) {
        Extent e;
        const std::uint64_t gap = short_number(), size = short_number();
        if (size == 0 || __builtin_add_overflow(at, gap, &e.begin) ||
            __builtin_add_overflow(e.begin, size, &e.end))
            throw_not_honest("an extent that cannot be");
        at = e.end;
        extents.push_back(e);
    }
    return extents;
}

std::span<const std::byte> FieldReader::rest() {
    return raw(left_.size());
}

void FieldReader::end() const {
    if (!left_.empty()) throw_not_honest("a message with something behind it");
}

}  // namespace dupengine::wire
