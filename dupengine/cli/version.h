#pragma once
// The version that --version prints and that reports carry.

namespace dupengine::cli {

inline constexpr const char* kVersion = "0.1.0";

}  // namespace dupengine::cli
