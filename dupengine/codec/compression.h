#pragma once
// Zstandard (RFC 8878), one block of bytes at a time, each by itself. Pure; an object is used by one thread
// at a time.

#include <memory>
#include <span>

#include "base/bytes.h"

namespace dupengine::codec {

class Compressor {
  public:
    /// Levels as zstd(1) counts them.
    explicit Compressor(int level);
    ~Compressor();
    Compressor(const Compressor&) = delete;
    Compressor& operator=(const Compressor&) = delete;

    /// The compressed form, good until the next call; empty if it would save less than a sixteenth.
    std::span<const std::byte> compress(std::span<const std::byte> bytes);

  private:
    struct State;
    std::unique_ptr<State> state_;
};

class Decompressor {
  public:
    Decompressor();
    ~Decompressor();
    Decompressor(const Decompressor&) = delete;
    Decompressor& operator=(const Decompressor&) = delete;

    /// Fills `bytes` exactly. False if `compressed` is damaged or holds another number of bytes; `bytes` mean
    /// nothing then.
    bool decompress(std::span<const std::byte> compressed, std::span<std::byte> bytes);

  private:
    struct State;
    std::unique_ptr<State> state_;
};

/// The compressed form that `bytes` begin with, as they may go on behind it; empty if none begins there, or
/// it does not end within them.
std::span<const std::byte> first_frame(std::span<const std::byte> bytes);

}  // namespace dupengine::codec
