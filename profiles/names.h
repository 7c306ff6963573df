#pragma once
// The spelling of the names that a profile may hold: hosts, users, units, paths, roles. Each check returns an
// empty string if the text is good, otherwise what is wrong with it, as the end of a sentence. Pure.

#include <string>
#include <string_view>
#include <vector>

namespace dupengine::profiles {

/// RFC 1123 host name; at most 64 characters, the kernel's limit (__NEW_UTS_LEN).
std::string host_name_fault(std::string_view text);
/// IPv4 or IPv6, as inet_pton(3) reads them.
std::string address_fault(std::string_view text);
/// One file name without folder: letters, digits, '.', '_', '-'; no dot in front; at most 64 characters.
std::string role_name_fault(std::string_view text);
/// The name of a network interface: at most 15 characters (IFNAMSIZ) of those that names are made of.
std::string link_name_fault(std::string_view text);
/// "52:54:00:12:34:56", lower case; an address of one machine, and not all zeros.
std::string mac_fault(std::string_view text);
/// "10.0.0.5/24", "2001:db8::5/64"
std::string prefixed_address_fault(std::string_view text);
/// POSIX portable user name of at most 32 characters.
std::string user_name_fault(std::string_view text);
/// As systemd.unit(5): the name with a known suffix, at most 255 characters.
std::string unit_name_fault(std::string_view text);
/// "chrony" -> "chrony.service"; names with a known suffix stay.
std::string canonical_unit_name(std::string_view text);
/// Absolute; no empty, "." or ".." part; no control characters.
std::string file_path_fault(std::string_view text);
/// One line of authorized_keys(5): options, key type, base64, comment. Refuses private keys.
std::string authorized_key_fault(std::string_view text);

/// The text in quotes, cut to 64 bytes, without anything that could move a terminal's cursor.
std::string quoted(std::string_view text);
/// The known name that is so near that `text` must be a slip, or an empty string.
std::string nearest_name(std::string_view text, const std::vector<std::string_view>& known);

}  // namespace dupengine::profiles
