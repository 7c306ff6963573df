// What a hostile peer may send. An input is a byte that says what it is taken for, then the header or the
// payload.

#include <array>

#include "tests/fuzz/fuzz_disk.h"
#include "wire/pieces.h"

namespace dupengine::fuzz {
namespace {

using namespace wire;

void check_extents(std::span<const block::Extent> extents) {
    ByteOffset end = 0;
    for (const block::Extent e : extents) {
        require(e.begin >= end && e.begin < e.end, "ascending, disjoint, not empty");
        end = e.end;
    }
    require(extents.size() <= kMostExtents, "no more than the limit");
}

// What was read is written again and read as the same.
template <typename Value>
void check_again(const Value& value, Value (*decode)(std::span<const std::byte>)) {
    const Bytes once = encode(value);
    require(encode(decode(once)) == once, "what was read can be written");
}

void check_pieces(std::span<const std::byte> pieces) {
    const std::size_t size = count_piece_bytes(pieces);
    require(size <= kMostAsked, "no more than anybody asks for");
    Bytes bytes(size);
    decode_pieces(pieces, bytes);
}

void run(std::uint8_t what, std::span<const std::byte> payload) {
    switch (static_cast<Type>(what)) {
        case Type::kHello:
            return check_again(decode_hello(payload), decode_hello);
        case Type::kOpen:
            return check_again(decode_open(payload), decode_open);
        case Type::kOpened:
            return check_again(decode_opened(payload), decode_opened);
        case Type::kPrefill:
            return check_pieces(decode_prefill(payload).pieces);
        case Type::kRead:
            check_extents(decode_read(payload).extents);
            return check_again(decode_read(payload), decode_read);
        case Type::kData:
            return check_pieces(payload);
        case Type::kDigest:
        case Type::kMap:
            return check_extents(decode_extents(payload));
        case Type::kMapped:
            check_extents(decode_mapped(payload).data);
            return check_again(decode_mapped(payload), decode_mapped);
        case Type::kProgress:
            return check_again(decode_progress(payload), decode_progress);
        case Type::kDone:
            return check_again(decode_result(payload), decode_result);
        case Type::kFailed:
        case Type::kAbort:
            return check_again(decode_failure(payload), decode_failure);
        case Type::kKnown:
            return check_again(decode_known(payload), decode_known);
        case Type::kRound:
            return check_again(decode_round(payload), decode_round);
        case Type::kChanged:
            check_extents(decode_changed(payload).extents);
            return check_again(decode_changed(payload), decode_changed);
        case Type::kMemory:
            return check_again(decode_memory(payload), decode_memory);
        case Type::kGroup:
            return check_again(decode_group_head(payload), decode_group_head);
        default:
            require(decode_header(payload).payload_bytes <= kMostPayload, "no memory for more");
    }
}

}  // namespace
}  // namespace dupengine::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    if (size == 0) return 0;
    try {
        dupengine::fuzz::run(data[0], std::as_bytes(std::span(data, size)).subspan(1));
    } catch (const dupengine::Error&) {
        // Refused.
    }
    return 0;
}
