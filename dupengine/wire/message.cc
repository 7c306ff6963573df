#include "wire/message.h"

#include <algorithm>

#include "wire/fields.h"

namespace dupengine::wire {
namespace {

using block::Extent;

constexpr std::size_t kMostNotes = 64;

bool is_type(std::uint8_t type) {
    return type >= static_cast<std::uint8_t>(Type::kHello) && type <= static_cast<std::uint8_t>(Type::kGroup);
}

std::uint64_t total_of(std::span<const Extent> extents) {
    std::uint64_t total = 0;
    for (Extent e : extents)
        total = checked_add(total, e.size(), "extents");
    return total;
}

// As far as whole characters of UTF-8 go.
std::string_view cut(std::string_view text, std::size_t limit) {
    if (text.size() <= limit) return text;
    constexpr std::size_t kLongestCharacter = 4;
    std::size_t end = limit;
    while (end > 0 && limit - end < kLongestCharacter &&
           (static_cast<unsigned char>(text[end]) & 0xC0) == 0x80)
        --end;
    return text.substr(0, end);
}

}  // namespace

void throw_not_honest(std::string_view what) {
    throw_error(Code::kPeer, "the other end says what no dupengine says: {}", what);
}

std::string tame(std::string_view text, std::size_t limit) {
    std::string tamed(cut(text, limit));
    std::ranges::replace_if(
        tamed, [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; }, '?');
    // Terminals obey more than ASCII has: C1 controls (U+0080 to U+009F), and marks that break lines or turn
    // the direction of writing (U+200E, U+200F, U+2028 to U+202E, U+2060 to U+206F).
    const auto byte = [&](std::size_t at) { return static_cast<unsigned char>(tamed[at]); };
    for (std::size_t at = 0; at + 1 < tamed.size(); ++at) {
        if (byte(at) == 0xC2 && byte(at + 1) >= 0x80 && byte(at + 1) <= 0x9F) tamed.replace(at, 2, "?");
        if (at + 2 >= tamed.size() || byte(at) != 0xE2) continue;
        const unsigned last = byte(at + 2);
        const bool is_mark =
            (byte(at + 1) == 0x80 && (last == 0x8E || last == 0x8F || (last >= 0xA8 && last <= 0xAE))) ||
            (byte(at + 1) == 0x81 && last >= 0xA0 && last <= 0xAF);
        if (is_mark) tamed.replace(at, 3, "?");
    }
    return tamed;
}

std::size_t count_pieces(std::span<const Extent> extents) {
    std::size_t count = 0;
    std::uint64_t next = 0;  // the first piece that was not counted
    for (Extent e : extents) {
        const std::uint64_t first = std::max(e.begin / kPieceBytes, next);
        next = (e.end - 1) / kPieceBytes + 1;
        count += next > first ? next - first : 0;
    }
    return count;
}

void encode_header(const Header& header, std::span<std::byte> to) {
    store_le<std::uint32_t>(to, 0, header.payload_bytes);
    store_le<std::uint32_t>(to, 4, static_cast<std::uint32_t>(header.type));
    store_le<std::uint64_t>(to, 8, header.id);
}

Header decode_header(std::span<const std::byte> bytes) {
    FieldReader fields(bytes);
    Header header;
    header.payload_bytes = fields.number32();
    const std::uint32_t type = fields.number32();
    header.id = fields.number64();
    fields.end();
    if (header.payload_bytes > kMostPayload) throw_not_honest("a message that is too long");
    if (type > 0xff || !is_type(static_cast<std::uint8_t>(type))) throw_not_honest("an unknown message");
    header.type = static_cast<Type>(type);
    return header;
}

Bytes encode(const Message& message) {
    if (message.payload.size() > kMostPayload)
        throw_error(Code::kInternal, "a message of {} bytes", message.payload.size());
    Bytes bytes(kHeaderBytes);
    encode_header({message.type, message.id, static_cast<std::uint32_t>(message.payload.size())}, bytes);
    bytes.insert(bytes.end(), message.payload.begin(), message.payload.end());
    return bytes;
}

Bytes encode(const Hello& hello) {
    FieldWriter fields;
    fields.number8(static_cast<std::uint8_t>(hello.role));
    fields.text(hello.version);
    return fields.take();
}

Hello decode_hello(std::span<const std::byte> payload) {
    FieldReader fields(payload);
    Hello hello;
    const std::uint8_t role = fields.number8();
    if (role != 1 && role != 2) throw_not_honest("a role that is none");
    hello.role = static_cast<Role>(role);
    hello.version = tame(fields.text(kMostText));
    fields.end();
    return hello;
}

Bytes encode_prefill(ByteOffset offset, std::span<const std::byte> pieces) {
    FieldWriter fields;
    fields.number64(offset);
    fields.raw(pieces);
    return fields.take();
}

Prefill decode_prefill(std::span<const std::byte> payload) {
    FieldReader fields(payload);
    Prefill prefill;
    prefill.offset = fields.number64();
    prefill.pieces = fields.rest();
    return prefill;
}

Bytes encode(const Known& known) {
    FieldWriter fields;
    fields.number64(known.part.begin);
    fields.number64(known.part.end);
    fields.text(known.signature);
    return fields.take();
}

Known decode_known(std::span<const std::byte> payload) {
    FieldReader fields(payload);
    Known known;
    known.part.begin = fields.number64();
    known.part.end = fields.number64();
    known.signature = fields.text(kMostText);
    fields.end();
    return known;
}

Bytes encode_extents(std::span<const Extent> extents) {
    FieldWriter fields;
    fields.extents(extents);
    return fields.take();
}

std::vector<Extent> decode_extents(std::span<const std::byte> payload) {
    FieldReader fields(payload);
    std::vector<Extent> extents = fields.extents(kMostExtents);
    fields.end();
    return extents;
}

Bytes encode(const RoundRequest& request) {
    FieldWriter fields;
    fields.number32(request.number);
    fields.number64(request.from);
    return fields.take();
}

RoundRequest decode_round(std::span<const std::byte> payload) {
    FieldReader fields(payload);
    RoundRequest request;
    request.number = fields.number32();
    request.from = fields.number64();
    fields.end();
    return request;
}

Bytes encode(const Changed& changed) {
    FieldWriter fields;
    fields.number8(changed.is_last ? 1 : 0);
    fields.number64(changed.next);
    fields.extents(changed.extents);
    fields.text(changed.report);
    return fields.take();
}

Changed decode_changed(std::span<const std::byte> payload) {
    FieldReader fields(payload);
    Changed changed;
    changed.is_last = fields.flag();
    changed.next = fields.number64();
    changed.extents = fields.extents(kMostExtents);
    changed.report = fields.text(kMostReport);
    fields.end();
    // Each message gets on: nobody is asked for ever.
    if (changed.next != 0 && (changed.extents.empty() || changed.next < changed.extents.back().end))
        throw_not_honest("a round that has no end");
    return changed;
}

Bytes encode(const MemoryRequest& request) {
    FieldWriter fields;
    fields.number32(request.number);
    return fields.take();
}

MemoryRequest decode_memory(std::span<const std::byte> payload) {
    FieldReader fields(payload);
    MemoryRequest request{fields.number32()};
    fields.end();
    return request;
}

Bytes encode(const GroupHead& head) {
    FieldWriter fields;
    fields.number8(static_cast<std::uint8_t>(head.kind));
    fields.number32(head.bytes);
    return fields.take();
}

GroupHead decode_group_head(std::span<const std::byte> head) {
    FieldReader fields(head);
    const std::uint8_t kind = fields.number8();
    const std::uint32_t bytes = fields.number32();
    fields.end();
    const bool is_group = kind == static_cast<std::uint8_t>(GroupHead::Kind::kGroup);
    if (kind < 1 || kind > static_cast<std::uint8_t>(GroupHead::Kind::kEnd) || bytes > kMostAsked ||
        is_group != (bytes != 0))
        throw_not_honest("a group of memory that cannot be");
    return {static_cast<GroupHead::Kind>(kind), bytes};
}

Bytes encode(const ReadRequest& request) {
    FieldWriter fields;
    fields.number8(request.from == block::Reader::From::kMedium ? 1 : 0);
    fields.extents(request.extents);
    return fields.take();
}

ReadRequest decode_read(std::span<const std::byte> payload) {
    FieldReader fields(payload);
    ReadRequest request;
    request.from = fields.flag() ? block::Reader::From::kMedium : block::Reader::From::kAnywhere;
    request.extents = fields.extents(kMostExtents);
    fields.end();
    if (request.extents.empty() || total_of(request.extents) > kMostAsked)
        throw_not_honest("a question about too much");
    return request;
}

Bytes encode(const Mapped& mapped) {
    FieldWriter fields;
    fields.number64(mapped.known_to);
    fields.extents(mapped.data);
    return fields.take();
}

Mapped decode_mapped(std::span<const std::byte> payload) {
    FieldReader fields(payload);
    Mapped mapped;
    mapped.known_to = fields.number64();
    mapped.data = fields.extents(kMostExtents);
    fields.end();
    if (!mapped.data.empty() && mapped.data.back().end > mapped.known_to)
        throw_not_honest("a map that passes its end");
    return mapped;
}

Bytes encode(const ProgressNote& note) {
    FieldWriter fields;
    fields.text(note.phase);
    fields.number64(note.done_bytes);
    fields.number64(note.total_bytes);
    fields.number32(note.part);
    fields.number32(note.parts);
    return fields.take();
}

ProgressNote decode_progress(std::span<const std::byte> payload) {
    FieldReader fields(payload);
    ProgressNote note;
    constexpr std::size_t kMostPhase = 32;
    note.phase = tame(fields.text(kMostPhase));
    note.done_bytes = fields.number64();
    note.total_bytes = fields.number64();
    note.part = fields.number32();
    note.parts = fields.number32();
    fields.end();
    return note;
}

Bytes encode(const Result& result) {
    FieldWriter fields;
    fields.text(result.target);
    fields.number8(result.verified ? 1 : 0);
    for (const std::uint64_t number : {result.bytes_used, result.bytes_read, result.bytes_equal,
                                       result.bytes_written, result.bytes_verified})
        fields.number64(number);
    const std::size_t notes = std::min(result.notes.size(), kMostNotes);
    fields.short_number(notes);
    for (std::size_t i = 0; i < notes; ++i)
        fields.text(cut(result.notes[i], kMostText));
    return fields.take();
}

Result decode_result(std::span<const std::byte> payload) {
    FieldReader fields(payload);
    Result result;
    result.target = tame(fields.text(kMostText));
    result.verified = fields.flag();
    for (std::uint64_t* number : {&result.bytes_used, &result.bytes_read, &result.bytes_equal,
                                  &result.bytes_written, &result.bytes_verified})
        *number = fields.number64();
    const std::uint64_t notes = fields.short_number();
    if (notes > kMostNotes) throw_not_honest("too many notes");
    for (std::uint64_t i = 0; i < notes; ++i)
        result.notes.push_back(tame(fields.text(kMostText), kMostText));
    fields.end();
    return result;
}

Bytes encode(const Failure& failure) {
    FieldWriter fields;
    fields.number8(static_cast<std::uint8_t>(failure.code));
    fields.text(cut(failure.text, kMostText));
    return fields.take();
}

Failure decode_failure(std::span<const std::byte> payload) {
    FieldReader fields(payload);
    Failure failure;
    const std::uint8_t code = fields.number8();
    const bool is_code = code >= static_cast<std::uint8_t>(Code::kRefused) &&
                         code <= static_cast<std::uint8_t>(Code::kInterrupted);
    failure.code = is_code ? static_cast<Code>(code) : Code::kPeer;
    failure.text = tame(fields.text(kMostText), kMostText);
    fields.end();
    return failure;
}

}  // namespace dupengine::wire
