#pragma once
// Programs that put frames together by themselves (packet(7)) have the source's addresses in their memory: a
// DHCP client sends its MAC in every frame, and asks for its lease again. In a duplicate they must not go on,
// and cannot be asked to begin anew, because they are frozen: so they are killed, and die when they are
// thawed, before they run. What starts them again (systemd, the network's manager) starts them as this
// machine's.
//
// Also killed by their names are DHCP clients that have such a socket only when they need one. One thread at
// a time.

#include <string>
#include <vector>

namespace dupengine::machine {

struct EndedProcesses {
    std::vector<std::string> ended;  ///< "dhclient (711)"
    /// "1 packet socket of nobody who is seen": it may speak as the source
    std::vector<std::string> left;
};

/// In all network namespaces. Not the calling process, and not the first one, which cannot be killed. Throws
/// kUnsupported if the sockets or processes of this machine cannot be listed.
EndedProcesses kill_packet_processes();

}  // namespace dupengine::machine
