#pragma once
// Leaving the system that runs here for a kernel and an initramfs, without firmware in between:
// kexec_file_load(2), by which the kernel itself hands on the memory map that firmware gave. (kexec(8) with
// the older call takes 256 bytes out of it, and the machine would no longer be like the one it was before.)
// systemctl(1) first stops in order what runs.

#include <string>
#include <vector>

#include "base/fd.h"

namespace dupengine::machine {

/// Why this machine could not, each a line. `proc`: tests have their own.
std::vector<std::string> obstacles_to_leaving(const std::string& proc = "/proc");

struct NextSystem {
    std::string kernel;   ///< a file
    const Fd& initramfs;  ///< a file, which may be in memory only
    std::string command_line;
};
/// From here on the next restart goes there. Throws kUnsupported if the kernel does not take it.
void load_next_system(const NextSystem& next);
/// Returns when everything is being stopped. Throws kInternal, with nothing loaded any more.
void leave_for_next_system();

/// This machine's IPv4 network as the word "ip=" of a kernel's command line has it (Linux:
/// Documentation/admin-guide/nfs/nfsroot.rst): of the link with the default route, otherwise of the only one
/// that has an address. `route` is /proc/net/route. Throws kUnsupported if there is none, or several.
std::string ip_word(const std::string& route = "/proc/net/route");

/// The words of a kernel's command line, as it splits them: quotes keep blanks together.
std::vector<std::string> split_command_line(const std::string& text);

}  // namespace dupengine::machine
