#pragma once
// Questions to the kernel over netlink(7): one socket, one question at a time. What the kernel answers is
// parsed with checked lengths. A socket stays in the network namespace in which it was made. Used by one
// thread; works while other processes are frozen, because the kernel answers inside the call.

#include <algorithm>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include "base/bytes.h"
#include "base/fd.h"

namespace dupengine::machine {

/// What is asked: the fixed header of its family, and attributes behind it.
class NetlinkQuestion {
  public:
    /// `flags` besides NLM_F_REQUEST and NLM_F_ACK.
    template <typename Header>
    NetlinkQuestion(std::uint16_t type, std::uint16_t flags, const Header& header)
        : type_(type), flags_(flags) {
        static_assert(std::is_trivially_copyable_v<Header>);
        append(std::as_bytes(std::span(&header, 1)));
    }
    void add(std::uint16_t attribute, std::span<const std::byte> value);
    template <typename T>
    requires std::is_integral_v<T>
    void add_number(std::uint16_t attribute, T value) { add(attribute, std::as_bytes(std::span(&value, 1))); }
    /// With the zero at its end, as the kernel wants names.
    void add_name(std::uint16_t attribute, const std::string& name);

    std::uint16_t type() const { return type_; }
    std::uint16_t flags() const { return flags_; }
    const Bytes& body() const { return body_; }

  private:
    void append(std::span<const std::byte> bytes);
    std::uint16_t type_, flags_;
    Bytes body_;
};

/// An attribute of a list of them; empty if it is not there, or the list is cut off before it.
std::span<const std::byte> find_attribute(std::span<const std::byte> attributes, std::uint16_t attribute);
/// What is there, zeros behind it: older kernels say less than newer ones.
template <typename T>
T as_value(std::span<const std::byte> bytes) {
    static_assert(std::is_trivially_copyable_v<T>);
    T value{};
    if (!bytes.empty()) std::memcpy(&value, bytes.data(), std::min(bytes.size(), sizeof value));
    return value;
}
/// Up to its first zero.
std::string as_name(std::span<const std::byte> bytes);

/// One message of an answer.
struct NetlinkAnswer {
    std::uint16_t type = 0;
    Bytes body;
    template <typename Header>
    Header header() const {
        return as_value<Header>(body);
    }
    template <typename Header>
    std::span<const std::byte> attribute(std::uint16_t attribute) const {
        constexpr std::size_t size = (sizeof(Header) + 3) / 4 * 4;
        return body.size() < size ? std::span<const std::byte>()
                                  : find_attribute(std::span(body).subspan(size), attribute);
    }
};

class Netlink {
  public:
    /// NETLINK_ROUTE, ... Throws kUnsupported if this kernel has none.
    explicit Netlink(int protocol);

    /// 0 or what the kernel says against it (errno). A list that changed while it was told is asked for
    /// again.
    int try_ask(const NetlinkQuestion& question, std::vector<NetlinkAnswer>* answers = nullptr);
    /// Throws kUnsupported: "WHAT: reason".
    std::vector<NetlinkAnswer> ask(const NetlinkQuestion& question, const std::string& what);
    /// What the kernel had to say besides, of the last question; with a space and brackets, or empty.
    const std::string& remark() const { return remark_; }

  private:
    enum class End { kNotYet, kDone, kChanged };
    void send(const NetlinkQuestion& question);
    int take_answers(std::vector<NetlinkAnswer>& answers, bool& has_changed);
    void keep_remark(std::span<const std::byte> message, std::size_t header_bytes);

    Fd socket_;
    std::uint32_t number_ = 0;
    Bytes buffer_;
    std::string remark_;
};

}  // namespace dupengine::machine
