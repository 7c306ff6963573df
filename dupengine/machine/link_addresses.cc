#include "machine/link_addresses.h"

#include <arpa/inet.h>
#include <sys/socket.h>

#include <algorithm>
#include <charconv>

#include "base/error.h"

namespace dupengine::machine {
namespace {

bool is_of_one_machine(const InternetAddress& address) {
    const auto first = std::to_integer<unsigned>(address.bytes[0]);
    return !is_zero(address.bytes) && (address.family == AF_INET ? first < 224 : first != 0xff);
}

bool is_set(const Bytes& bytes, std::size_t bit) {
    return (std::to_integer<unsigned>(bytes[bit / 8]) >> (7 - bit % 8) & 1) != 0;
}

}  // namespace

InternetAddress parse_internet_address(const std::string& text) {
    // inet_pton would stop at a zero in the middle.
    const bool is_six = text.find(':') != std::string::npos;
    InternetAddress address{is_six ? std::uint8_t{AF_INET6} : std::uint8_t{AF_INET}, Bytes(is_six ? 16 : 4)};
    if (text.find('\0') != std::string::npos ||
        ::inet_pton(address.family, text.c_str(), address.bytes.data()) != 1 || !is_of_one_machine(address))
        throw_error(Code::kUsage, "\"{}\" is no address of a machine (10.0.0.5, 2001:db8::5)", text);
    return address;
}

AddressWithPrefix parse_address_with_prefix(const std::string& text) {
    const std::size_t slash = text.find('/');
    if (slash == std::string::npos)
        throw_error(Code::kUsage, "\"{}\" lacks the length of its network's prefix (10.0.0.5/24)", text);
    AddressWithPrefix found{parse_internet_address(text.substr(0, slash)), 0};
    const char* begin = text.data() + slash + 1;
    const char* end = text.data() + text.size();
    const auto [stop, error] = std::from_chars(begin, end, found.prefix_bits);
    if (error != std::errc() || stop != end || found.prefix_bits == 0 ||
        found.prefix_bits > found.address.bytes.size() * 8)
        throw_error(Code::kUsage, "\"{}\" has no prefix of 1 to {} bits", text,
                    found.address.bytes.size() * 8);
    return found;
}

bool AddressWithPrefix::contains(const InternetAddress& other) const {
    if (other.family != address.family) return false;
    for (std::size_t bit = 0; bit < prefix_bits; ++bit)
        if (is_set(address.bytes, bit) != is_set(other.bytes, bit)) return false;
    return true;
}

Bytes AddressWithPrefix::broadcast() const {
    if (address.family != AF_INET || prefix_bits > 30) return {};
    Bytes last = address.bytes;
    for (std::size_t bit = prefix_bits; bit < 32; ++bit)
        last[bit / 8] |= std::byte{1} << (7 - bit % 8);
    return last;
}

Bytes parse_mac(const std::string& text) {
    std::string digits;
    bool is_well_formed = text.size() == 17;
    for (std::size_t i = 0; i < text.size() && is_well_formed; ++i)
        if (i % 3 == 2)
            is_well_formed = text[i] == ':';
        else
            digits += text[i];
    is_well_formed =
        is_well_formed && digits.find_first_not_of("0123456789abcdefABCDEF") == std::string::npos;
    const Bytes mac = is_well_formed ? from_hex(digits) : Bytes(6);
    if (is_zero(mac) || (mac[0] & std::byte{1}) != std::byte{0})
        throw_error(Code::kUsage, "\"{}\" is no address of one Ethernet device (52:54:00:12:34:56)", text);
    return mac;
}

}  // namespace dupengine::machine
