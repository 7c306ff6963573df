#pragma once
// Physical pages whose content a duplicate has no use for: memory of programs that end there before they run
// again. Whatever the target holds of them will do, and nothing of them has to be sent after the pause.
// Looked up through /proc/PID/pagemap (Linux: Documentation/admin-guide/mm/pagemap.rst), while the programs
// are frozen; needs CAP_SYS_ADMIN. A page that anybody else maps, or that belongs to a file or to shared
// memory, is never among those of a program.
//
// Used by one thread.

#include <sys/types.h>

#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace dupengine::machine {

using PageNumbers = std::vector<std::uint64_t>;

/// What `process` alone has mapped and may write. Ascending. Throws kUnsupported.
PageNumbers private_pages_of(pid_t process, const std::string& proc = "/proc");
/// Pages of this process that lie in `room` as a whole, shared with others or not. Ascending. Throws
/// kUnsupported.
PageNumbers pages_behind(std::span<const std::byte> room, const std::string& proc = "/proc");

}  // namespace dupengine::machine
