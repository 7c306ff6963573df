#include "wire/pieces.h"

#include <algorithm>

#include "base/copy_bytes.h"
#include "wire/fields.h"

namespace dupengine::wire {
namespace {

using Clock = std::chrono::steady_clock;

enum class Kind : std::uint8_t { kZero = 0, kRaw = 1, kZstd = 2 };

// Eight pieces that do not pay are half a MiB; then ever fewer are tried, one in 64 MiB at the least.
constexpr unsigned kFirstSkip = 8, kMostSkip = 1024;

struct Piece {
    Kind kind = Kind::kZero;
    std::size_t size = 0;
    std::span<const std::byte> stored;
};

// A piece begins with its kind and how many bytes of the disk it is; what is compressed tells its own size.
Piece next_piece(FieldReader& fields) {
    Piece piece;
    const std::uint8_t kind = fields.number8();
    if (kind > static_cast<std::uint8_t>(Kind::kZstd)) throw_not_honest("a piece of an unknown kind");
    piece.kind = static_cast<Kind>(kind);
    piece.size = fields.number32();
    const std::size_t most = piece.kind == Kind::kRaw ? kMostAsked : kPieceBytes;
    if (piece.size == 0 || piece.size > most) throw_not_honest("a piece of a wrong size");
    if (piece.kind == Kind::kRaw) piece.stored = fields.raw(piece.size);
    if (piece.kind == Kind::kZstd) {
        const std::uint32_t stored = fields.number32();
        if (stored >= piece.size) throw_not_honest("a piece that grew when it was compressed");
        piece.stored = fields.raw(stored);
    }
    return piece;
}

void append(Bytes& to, Kind kind, std::size_t size, std::span<const std::byte> stored) {
    FieldWriter fields;
    fields.number8(static_cast<std::uint8_t>(kind));
    fields.number32(static_cast<std::uint32_t>(size));
    if (kind == Kind::kZstd) fields.number32(static_cast<std::uint32_t>(stored.size()));
    const Bytes head = fields.take();
    to.insert(to.end(), head.begin(), head.end());
    to.insert(to.end(), stored.begin(), stored.end());
}

}  // namespace

bool CompressionGauge::should_try() {
    const unsigned skip = skip_.load(std::memory_order_relaxed);
    if (skip == 0) return true;
    skip_.store(skip - 1, std::memory_order_relaxed);
    return false;
}

bool CompressionGauge::passes_over(unsigned pieces) {
    const unsigned skip = skip_.load(std::memory_order_relaxed);
    if (skip < pieces) return false;
    skip_.store(skip - pieces, std::memory_order_relaxed);
    return true;
}

void CompressionGauge::judge(bool pays) {
    const unsigned skip = next_skip_.load(std::memory_order_relaxed);
    skip_.store(pays ? 0 : skip, std::memory_order_relaxed);
    next_skip_.store(pays ? 0 : std::clamp(skip * 2, kFirstSkip, kMostSkip), std::memory_order_relaxed);
}

void CompressionGauge::learn_compressed(std::size_t raw, std::size_t stored, std::chrono::nanoseconds time) {
    const double saved =
        send_ns_per_byte_.load(std::memory_order_relaxed) * static_cast<double>(raw - stored);
    judge(stored < raw && static_cast<double>(time.count()) < saved);
}

void CompressionGauge::learn_sent(std::size_t bytes, std::chrono::nanoseconds time) {
    if (bytes == 0) return;
    constexpr double kWeight = 1.0 / 8;
    const double now = static_cast<double>(time.count()) / static_cast<double>(bytes);
    const double before = send_ns_per_byte_.load(std::memory_order_relaxed);
    send_ns_per_byte_.store(before == 0 ? now : before + kWeight * (now - before), std::memory_order_relaxed);
}

void PieceEncoder::encode(std::span<const std::byte> bytes, Bytes& to) {
    for (std::size_t at = 0; at < bytes.size(); at += kPieceBytes)
        encode_piece(bytes.subspan(at, std::min(kPieceBytes, bytes.size() - at)), to);
}

bool PieceEncoder::goes_raw(std::span<const std::byte> bytes) {
    for (std::size_t at = 0; at < bytes.size(); at += kPieceBytes)
        if (is_zero(bytes.subspan(at, std::min(kPieceBytes, bytes.size() - at)))) return false;
    return gauge_.passes_over(static_cast<unsigned>((bytes.size() + kPieceBytes - 1) / kPieceBytes));
}

void encode_raw_head(std::size_t bytes, std::span<std::byte> to) {
    to[0] = static_cast<std::byte>(Kind::kRaw);
    store_le<std::uint32_t>(to, 1, static_cast<std::uint32_t>(bytes));
}

void PieceEncoder::encode_piece(std::span<const std::byte> piece, Bytes& to) {
    if (is_zero(piece)) return append(to, Kind::kZero, piece.size(), {});
    if (gauge_.should_try()) {
        const auto start = Clock::now();
        const auto compressed = compressor_.compress(piece);
        const std::size_t stored = compressed.empty() ? piece.size() : compressed.size();
        gauge_.learn_compressed(piece.size(), stored, Clock::now() - start);
        if (stored < piece.size()) return append(to, Kind::kZstd, piece.size(), compressed);
    }
    append(to, Kind::kRaw, piece.size(), piece);
}

void decode_pieces(std::span<const std::byte> pieces, std::span<std::byte> bytes) {
    thread_local codec::Decompressor decompressor;
    FieldReader fields(pieces);
    while (!bytes.empty()) {
        const Piece piece = next_piece(fields);
        if (piece.size > bytes.size()) throw_not_honest("more bytes than were asked for");
        const auto to = bytes.first(piece.size);
        if (piece.kind == Kind::kZero)
            std::ranges::fill(to, std::byte{0});
        else if (piece.kind == Kind::kRaw)
            copy_bytes(piece.stored, to);
        else if (!decompressor.decompress(piece.stored, to))
            throw_not_honest("a piece that is damaged");
        bytes = bytes.subspan(piece.size);
    }
    fields.end();
}

std::size_t count_piece_bytes(std::span<const std::byte> pieces) {
    FieldReader fields(pieces);
    std::size_t bytes = 0;
    for (std::size_t left = pieces.size(); left != 0; left = fields.left()) {
        bytes += next_piece(fields).size;
        if (bytes > kMostAsked) throw_not_honest("more than anybody asks for at once");
    }
    return bytes;
}

}  // namespace dupengine::wire
