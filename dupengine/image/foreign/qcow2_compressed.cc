#include "image/foreign/qcow2_compressed.h"

#include <zlib.h>

#include "codec/compression.h"

namespace dupengine::image {
namespace {

// Bare deflate data (RFC 1951) with a window of 4 KiB, as QEMU writes and reads it.
bool inflates_to(std::span<const std::byte> bytes, std::size_t cluster_bytes) {
    constexpr int kNoHeader = -12;
    Bytes cluster(cluster_bytes);
    z_stream stream{};
    if (::inflateInit2(&stream, kNoHeader) != Z_OK) throw_error(Code::kInternal, "no memory to unpack with");
    stream.next_in = const_cast<Bytef*>(reinterpret_cast<const Bytef*>(bytes.data()));
    stream.avail_in = static_cast<uInt>(bytes.size());
    stream.next_out = reinterpret_cast<Bytef*>(cluster.data());
    stream.avail_out = static_cast<uInt>(cluster.size());
    const int status = ::inflate(&stream, Z_FINISH);
    const bool filled = stream.avail_out == 0;
    ::inflateEnd(&stream);
    return status == Z_STREAM_END && filled;
}

}  // namespace

bool holds_cluster(std::span<const std::byte> bytes, Qcow2Compression compression,
                   std::size_t cluster_bytes) {
    if (compression == Qcow2Compression::kDeflate) return inflates_to(bytes, cluster_bytes);
    const auto frame = codec::first_frame(bytes);
    Bytes cluster(cluster_bytes);
    return !frame.empty() && codec::Decompressor().decompress(frame, cluster);
}

}  // namespace dupengine::image
