#pragma once
// Making one filesystem smaller with the field's own programs, in an overlay that is lent to them as a file.
// One file per filesystem. Each promises that what comes out is a whole, checked filesystem no larger than
// was asked, with the identifiers that it had; and where its programs allow, that the same source gives the
// same bytes again, so that a copy can be verified and taken up later. None of them writes anywhere else.

#include <cstdint>
#include <span>
#include <stop_token>
#include <string>
#include <vector>

#include "base/subprocess.h"
#include "block/overlay.h"
#include "layout/used_extents.h"

namespace dupengine::engine {

struct Shrinker {
    const char* type;     ///< as libblkid calls it
    const char* package;  ///< where its programs are
    std::vector<const char*> programs;
    /// Makes it ready (replays its journal, checks it) and says how small it can become. Throws kRefused if
    /// it is not in order.
    std::uint64_t (*find_least)(block::Overlay& part, std::stop_token stop);
    /// Makes it this large: no less than find_least said. Returns where it ends then: programs may leave some
    /// of what they were given.
    std::uint64_t (*shrink)(block::Overlay& part, std::uint64_t size_bytes, std::stop_token stop);
    const char* note;  ///< what a person should know of the result; empty if nothing
};

/// All that can be made smaller here.
std::span<const Shrinker> all_shrinkers();
/// Null if this filesystem cannot be made smaller here.
const Shrinker* find_shrinker(const std::string& type);

// One per filesystem: shrink_ext.cc, shrink_ntfs.cc, shrink_btrfs.cc.
std::uint64_t find_least_ext(block::Overlay& part, std::stop_token stop);
std::uint64_t shrink_ext(block::Overlay& part, std::uint64_t size_bytes, std::stop_token stop);
std::uint64_t find_least_ntfs(block::Overlay& part, std::stop_token stop);
std::uint64_t shrink_ntfs(block::Overlay& part, std::uint64_t size_bytes, std::stop_token stop);
std::uint64_t find_least_btrfs(block::Overlay& part, std::stop_token stop);
std::uint64_t shrink_btrfs(block::Overlay& part, std::uint64_t size_bytes, std::stop_token stop);

/// Without what lies behind the filesystem's end, which counts as used, too.
std::uint64_t used_of_filesystem(const layout::UsedExtents& used);
/// Runs a program for as long as it takes; kInterrupted if it was stopped.
RunResult run_patiently(const std::vector<std::string>& argv, const std::stop_token& stop,
                        std::vector<std::string> environment = {});
/// The number behind `words` in what a program said; throws kUnsupported, naming it, if it is not there.
std::uint64_t number_behind(const std::string& text, const std::string& words, const std::string& program);

}  // namespace dupengine::engine
