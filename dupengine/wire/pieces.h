#pragma once
// Bytes of a disk on their way: in pieces of kPieceBytes (the last may be shorter), each zeros, raw, or a
// zstd frame; or, where all of them go as they are, as one. Whether compressing pays is measured on the way:
// the gauge compares what it costs with the sending that it saves. The gauge is for any thread, the others
// for one.

#include <atomic>
#include <chrono>

#include "codec/compression.h"
#include "wire/message.h"

namespace dupengine::wire {

/// Shall the next piece be compressed? Learns from the pieces that were, and from how long sending takes.
/// What did not pay is tried again now and then: disks and links change.
class CompressionGauge {
  public:
    bool should_try();
    /// Whether none of so many pieces should be; then they count as passed.
    bool passes_over(unsigned pieces);
    /// `raw` bytes became `stored` (the same: they could not be compressed) in that time.
    void learn_compressed(std::size_t raw, std::size_t stored, std::chrono::nanoseconds time);
    void learn_sent(std::size_t bytes, std::chrono::nanoseconds time);

  private:
    void judge(bool pays);
    std::atomic<double> send_ns_per_byte_{0};
    std::atomic<unsigned> skip_{0};       // pieces until the next try
    std::atomic<unsigned> next_skip_{0};  // how many after another try that does not pay
};

class PieceEncoder {
  public:
    explicit PieceEncoder(CompressionGauge& gauge) : gauge_(gauge), compressor_(1) {}
    /// Appends the pieces of `bytes`, which is as long as one message may tell of, to `to`.
    void encode(std::span<const std::byte> bytes, Bytes& to);
    /// Whether they are to go as they are, behind encode_raw_head(), and need not be moved.
    bool goes_raw(std::span<const std::byte> bytes);

  private:
    void encode_piece(std::span<const std::byte> piece, Bytes& to);
    CompressionGauge& gauge_;
    codec::Compressor compressor_;
};

inline constexpr std::size_t kRawHeadBytes = 5;
/// What stands before `bytes` bytes that go as they are, at most kMostAsked.
void encode_raw_head(std::size_t bytes, std::span<std::byte> to);

/// Fills `bytes` with what the pieces hold. Throws kPeer unless that is just as much.
void decode_pieces(std::span<const std::byte> pieces, std::span<std::byte> bytes);

/// How many bytes of a disk the pieces hold, at most kMostAsked. Throws kPeer for pieces that cannot be.
std::size_t count_piece_bytes(std::span<const std::byte> pieces);

}  // namespace dupengine::wire
