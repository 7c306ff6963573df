#include "machine/netlink.h"

#include <linux/netlink.h>
#include <sys/socket.h>
#include <sys/time.h>

#include <algorithm>
#include <cerrno>

#include "base/error.h"

namespace dupengine::machine {
namespace {

constexpr std::size_t kAlign = 4;
constexpr std::size_t kHeader = sizeof(nlmsghdr);
// The kernel's own messages are at most 32 KiB each.
constexpr std::size_t kBuffer = 128 * kKiB;
constexpr int kMostAttempts = 10;
constexpr long kPatienceSeconds = 10;

}  // namespace

void NetlinkQuestion::append(std::span<const std::byte> bytes) {
    body_.insert(body_.end(), bytes.begin(), bytes.end());
    body_.resize(align_up(body_.size(), kAlign));
}

void NetlinkQuestion::add(std::uint16_t attribute, std::span<const std::byte> value) {
    const nlattr header{static_cast<std::uint16_t>(sizeof(nlattr) + value.size()), attribute};
    append(std::as_bytes(std::span(&header, 1)));
    append(value);
}

void NetlinkQuestion::add_name(std::uint16_t attribute, const std::string& name) {
    add(attribute, std::as_bytes(std::span(name.c_str(), name.size() + 1)));
}

std::span<const std::byte> find_attribute(std::span<const std::byte> attributes, std::uint16_t attribute) {
    while (attributes.size() >= sizeof(nlattr)) {
        const auto header = as_value<nlattr>(attributes.first(sizeof(nlattr)));
        if (header.nla_len < sizeof(nlattr) || header.nla_len > attributes.size()) break;
        if ((header.nla_type & NLA_TYPE_MASK) == attribute)
            return attributes.subspan(sizeof(nlattr), header.nla_len - sizeof(nlattr));
        attributes =
            attributes.subspan(std::min<std::size_t>(align_up(header.nla_len, kAlign), attributes.size()));
    }
    return {};
}

std::string as_name(std::span<const std::byte> bytes) {
    const std::string_view text = as_text(bytes);
    return std::string(text.substr(0, text.find('\0')));
}

Netlink::Netlink(int protocol)
    : socket_(::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, protocol)), buffer_(kBuffer) {
    if (!socket_.valid())
        throw_errno(Code::kUnsupported, errno, "the kernel has no netlink socket of kind {}", protocol);
    // Both only make it better: the kernel tells why it refuses, and a kernel that says nothing is an error.
    const int yes = 1;
    ::setsockopt(socket_.get(), SOL_NETLINK, NETLINK_EXT_ACK, &yes, sizeof yes);
    ::setsockopt(socket_.get(), SOL_NETLINK, NETLINK_GET_STRICT_CHK, &yes, sizeof yes);
    const timeval patience{kPatienceSeconds, 0};
    ::setsockopt(socket_.get(), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
}

void Netlink::send(const NetlinkQuestion& question) {
    Bytes message(kHeader);
    const nlmsghdr header{static_cast<std::uint32_t>(kHeader + question.body().size()), question.type(),
                          static_cast<std::uint16_t>(question.flags() | NLM_F_REQUEST | NLM_F_ACK), ++number_,
                          0};
    std::memcpy(message.data(), &header, sizeof header);
    message.insert(message.end(), question.body().begin(), question.body().end());
    sockaddr_nl kernel{};
    kernel.nl_family = AF_NETLINK;
    if (::sendto(socket_.get(), message.data(), message.size(), 0, reinterpret_cast<const sockaddr*>(&kernel),
                 sizeof kernel) != static_cast<ssize_t>(message.size()))
        throw_errno(Code::kUnsupported, errno, "the kernel cannot be asked over netlink");
}

// Behind the error: the question (unless it is capped), then attributes.
void Netlink::keep_remark(std::span<const std::byte> message, std::size_t header_bytes) {
    if (message.size() < header_bytes) return;
    const std::string text = as_name(find_attribute(message.subspan(header_bytes), NLMSGERR_ATTR_MSG));
    if (!text.empty()) remark_ = " (" + text + ")";
}

int Netlink::take_answers(std::vector<NetlinkAnswer>& answers, bool& has_changed) {
    for (;;) {
        const ssize_t n = ::recv(socket_.get(), buffer_.data(), buffer_.size(), MSG_TRUNC);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return errno;
        if (static_cast<std::size_t>(n) > buffer_.size()) return EMSGSIZE;
        std::span<const std::byte> rest = std::span(buffer_).first(static_cast<std::size_t>(n));
        while (rest.size() >= kHeader) {
            const auto header = as_value<nlmsghdr>(rest.first(kHeader));
            if (header.nlmsg_len < kHeader || header.nlmsg_len > rest.size()) return EBADMSG;
            const auto body = rest.subspan(kHeader, header.nlmsg_len - kHeader);
            rest = rest.subspan(std::min<std::size_t>(align_up(header.nlmsg_len, kAlign), rest.size()));
            if (header.nlmsg_seq != number_) continue;  // left over from a question that was given up
            has_changed = has_changed || (header.nlmsg_flags & NLM_F_DUMP_INTR) != 0;
            if (header.nlmsg_type == NLMSG_DONE || header.nlmsg_type == NLMSG_ERROR) {
                const bool is_capped = (header.nlmsg_flags & NLM_F_CAPPED) != 0;
                const auto error = as_value<nlmsgerr>(body);
                const std::size_t told = header.nlmsg_type == NLMSG_DONE ? sizeof(int)
                                         : is_capped || error.error == 0
                                             ? sizeof(nlmsgerr)
                                             : sizeof(int) + align_up(error.msg.nlmsg_len, kAlign);
                keep_remark(body, told);
                return -error.error;
            }
            answers.push_back({header.nlmsg_type, Bytes(body.begin(), body.end())});
        }
    }
}

int Netlink::try_ask(const NetlinkQuestion& question, std::vector<NetlinkAnswer>* answers) {
    for (int attempt = 0; attempt < kMostAttempts; ++attempt) {
        std::vector<NetlinkAnswer> found;
        bool has_changed = false;
        remark_.clear();
        send(question);
        const int error = take_answers(found, has_changed);
        if (error != 0) return error;
        if (has_changed) continue;
        if (answers != nullptr) *answers = std::move(found);
        return 0;
    }
    return EAGAIN;
}

std::vector<NetlinkAnswer> Netlink::ask(const NetlinkQuestion& question, const std::string& what) {
    std::vector<NetlinkAnswer> answers;
    if (const int error = try_ask(question, &answers); error != 0)
        throw_errno(Code::kUnsupported, error, "{}{}", what, remark_);
    return answers;
}

}  // namespace dupengine::machine
