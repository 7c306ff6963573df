#pragma once
// The filters that the kernel asks on the egress of a device (clsact), and who stands first among them.
// Everything here is about devices of the network namespace of the calling thread.

#include <cstdint>
#include <string>

#include "machine/network_devices.h"

namespace dupengine::machine {

/// How a gate is known again, also by a process that did not put it there.
inline constexpr const char* kGateName = "dupengine_gate";
inline constexpr std::uint32_t kGateHandle = 0x64757065, kGatePriority = 1;

/// Puts the program before all others of the device; true if it had to make the qdisc for that. Throws
/// kUnsupported.
bool attach_gate(const OutsideDevice& device, int program);
/// Takes a gate away, of whichever process, and the qdisc if `with_qdisc` and nobody else uses it. False if
/// there was none.
bool detach_gate(const OutsideDevice& device, bool with_qdisc);
/// Why a frame could leave by this device without being shown to the gate; empty if it cannot.
std::string stands_before_gate(const OutsideDevice& device);
/// Whether frames wait in a queue of the device.
bool has_waiting_frames(class Netlink& netlink, unsigned index);

}  // namespace dupengine::machine
