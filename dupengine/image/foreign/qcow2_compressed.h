#pragma once
// One compressed cluster of a qcow2 file. Pure.

#include <span>

#include "base/bytes.h"

namespace dupengine::image {

enum class Qcow2Compression { kDeflate, kZstd };

/// Whether the compressed form that `bytes` begin with ends within them, and gives a cluster of so many
/// bytes.
bool holds_cluster(std::span<const std::byte> bytes, Qcow2Compression compression, std::size_t cluster_bytes);

}  // namespace dupengine::image
