#pragma once
// The files of a store on a web server: any server that gives parts of files. A few connections, each kept
// and worked by a thread; what was announced (Files::will_read) is fetched ahead of whoever reads it. What
// may pass (a broken connection, a server that is busy) is tried again with growing pauses. A file that
// changes while it is read ends it. Memory: kMostAhead and what readers bring.

#include "image/files.h"
#include "image/web_options.h"

namespace dupengine::image {

inline constexpr unsigned kWebConnections = 4;
/// Bytes that were announced and not read yet; what was announced first is forgotten first.
inline constexpr std::size_t kMostAhead = 32 * kMiB;

/// Asks the server nothing yet. Throws kUsage.
std::unique_ptr<Files> open_web(const std::string& address, const WebOptions& options);

}  // namespace dupengine::image
