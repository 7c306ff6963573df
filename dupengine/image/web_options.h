#pragma once
// How a store on a web server is read. Value type.

#include <chrono>
#include <cstdint>
#include <string>

#include "base/bytes.h"

namespace dupengine::image {

struct WebOptions {
    std::string ca_file;       ///< certificates of servers are held against these; empty: the system's
    std::string cache_folder;  ///< keeps packs for the next time (pack_cache.h); empty: nothing is kept
    std::uint64_t cache_bytes = 16 * kGiB;
    /// How long one request is tried again after what may pass.
    std::chrono::milliseconds patience{60'000};
    /// How long a server may send (almost) nothing.
    std::chrono::seconds stall{20};
};

}  // namespace dupengine::image
