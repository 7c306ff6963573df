#include "codec/compression.h"

#include <zstd.h>

namespace dupengine::codec {

struct Compressor::State {
    ZSTD_CCtx* context = ZSTD_createCCtx();
    int level = 0;
    Bytes buffer;
    ~State() { ZSTD_freeCCtx(context); }
};

Compressor::Compressor(int level) : state_(std::make_unique<State>()) {
    if (state_->context == nullptr) throw_error(Code::kInternal, "no memory to compress with");
    state_->level = level;
}

Compressor::~Compressor() = default;

std::span<const std::byte> Compressor::compress(std::span<const std::byte> bytes) {
    State& state = *state_;
    state.buffer.resize(ZSTD_compressBound(bytes.size()));
    const std::size_t size = ZSTD_compressCCtx(state.context, state.buffer.data(), state.buffer.size(),
                                               bytes.data(), bytes.size(), state.level);
    if (ZSTD_isError(size) != 0)
        throw_error(Code::kInternal, "compression failed: {}", ZSTD_getErrorName(size));
    if (size > bytes.size() - bytes.size() / 16) return {};
    return std::span(state.buffer).first(size);
}

struct Decompressor::State {
    ZSTD_DCtx* context = ZSTD_createDCtx();
    ~State() { ZSTD_freeDCtx(context); }
};

Decompressor::Decompressor() : state_(std::make_unique<State>()) {
    if (state_->context == nullptr) throw_error(Code::kInternal, "no memory to decompress with");
}

Decompressor::~Decompressor() = default;

bool Decompressor::decompress(std::span<const std::byte> compressed, std::span<std::byte> bytes) {
    const std::size_t size = ZSTD_decompressDCtx(state_->context, bytes.data(), bytes.size(),
                                                 compressed.data(), compressed.size());
    return ZSTD_isError(size) == 0 && size == bytes.size();
}

std::span<const std::byte> first_frame(std::span<const std::byte> bytes) {
    const std::size_t size = ZSTD_findFrameCompressedSize(bytes.data(), bytes.size());
    return ZSTD_isError(size) == 0 ? bytes.first(size) : std::span<const std::byte>();
}

}  // namespace dupengine::codec
