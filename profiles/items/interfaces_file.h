#pragma once
// /etc/network/interfaces and its folder (interfaces(5), ifupdown).

#include <string>

#include "profiles/system/staged.h"

namespace dupengine::profiles {

inline constexpr const char* kInterfacesFolder = "/etc/network/interfaces.d";

/// Whether the system has ifupdown, and its file reads the folder.
bool has_ifupdown(const Tree& tree);

/// Two definitions of one interface are an error for ifup: comments out what the file and the folder say of
/// `name`, but for our own files, which are replaced.
void take_out_of_interfaces(Staged& staged, const std::string& name);

/// The text with every stanza of the interface, and its name in "auto" and "allow-..." lines, taken out.
std::string without_interface(const std::string& text, const std::string& name);

}  // namespace dupengine::profiles
