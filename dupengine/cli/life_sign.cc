#include "cli/life_sign.h"

#include <netdb.h>
#include <sys/socket.h>
#include <unistd.h>

#include <memory>
#include <nlohmann/json.hpp>
#include <thread>

namespace dupengine::cli {
namespace {

using namespace std::chrono_literals;

constexpr std::size_t kMacDigits = 2 * sizeof(codec::Sha256);
constexpr std::size_t kMostWord = kMacDigits + 1 + kMostLifeSignText;
// For one connection, which may be anybody's.
constexpr auto kPatience = 5s;

std::string mac_of(const codec::Sha256& secret, std::string_view text) {
    return to_hex(codec::hmac_sha256(secret, as_bytes(text)));
}

// As the kernel would choose it; nothing is sent.
std::string own_address_towards(const wire::Address& target) {
    addrinfo hints{};
    hints.ai_socktype = SOCK_DGRAM;
    addrinfo* found = nullptr;
    if (::getaddrinfo(target.host.c_str(), std::to_string(target.port).c_str(), &hints, &found) != 0)
        throw_error(Code::kPeer, "{}: has no address", target.host);
    const std::unique_ptr<addrinfo, void (*)(addrinfo*)> list(found, ::freeaddrinfo);
    for (const addrinfo* at = found; at != nullptr; at = at->ai_next) {
        const Fd fd(::socket(at->ai_family, SOCK_DGRAM | SOCK_CLOEXEC, 0));
        sockaddr_storage own{};
        socklen_t size = sizeof own;
        char text[NI_MAXHOST];
        if (fd.valid() && ::connect(fd.get(), at->ai_addr, at->ai_addrlen) == 0 &&
            ::getsockname(fd.get(), reinterpret_cast<sockaddr*>(&own), &size) == 0 &&
            ::getnameinfo(reinterpret_cast<const sockaddr*>(&own), size, text, sizeof text, nullptr, 0,
                          NI_NUMERICHOST) == 0)
            return text;
    }
    throw_error(Code::kPeer, "{}: no way leads there", target.text());
}

// Nothing if it is not the word that is waited for.
std::optional<std::string> read_word(wire::Transport& transport, const codec::Sha256& secret) {
    const wire::Deadline deadline = wire::after(kPatience);
    Bytes bytes;
    Bytes buffer(4 * kKiB);
    for (std::size_t got; (got = transport.receive(buffer, deadline)) != 0;) {
        bytes.insert(bytes.end(), buffer.begin(), buffer.begin() + static_cast<std::ptrdiff_t>(got));
        if (bytes.size() > kMostWord) return std::nullopt;
    }
    const std::string_view word = as_text(bytes);
    if (word.size() <= kMacDigits || word[kMacDigits] != '\n') return std::nullopt;
    const std::string_view text = word.substr(kMacDigits + 1);
    // Whoever guesses has one try for each connection.
    if (mac_of(secret, text) != word.substr(0, kMacDigits)) return std::nullopt;
    return std::string(text);
}

std::string dumped(const nlohmann::ordered_json& report) {
    return report.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
}

// Null if there is none that has anything.
nlohmann::ordered_json* longest_list(nlohmann::ordered_json& report) {
    nlohmann::ordered_json* longest = nullptr;
    std::size_t most = 0;
    for (auto& value : report)
        if (value.is_array() && !value.empty())
            if (const std::size_t size = dumped(value).size(); size > most) longest = &value, most = size;
    return longest;
}

}  // namespace

std::string life_sign_text(nlohmann::ordered_json report) {
    std::string text = dumped(report);
    while (text.size() > kMostLifeSignText) {
        report["shortened"] = true;
        nlohmann::ordered_json* const list = longest_list(report);
        if (list == nullptr) return dumped({{"shortened", true}});
        list->erase(list->begin() + static_cast<std::ptrdiff_t>(list->size() / 2), list->end());
        text = dumped(report);
    }
    return text;
}

LifeSignListener::LifeSignListener(const wire::Address& target, RandomSource& random) {
    place_.address.host = own_address_towards(target);
    listener_.emplace(place_.address);
    place_.address.port = listener_->address().port;
    random.fill(place_.secret);
}

std::optional<std::string> LifeSignListener::wait(std::chrono::milliseconds patience,
                                                  const std::stop_token& stop) {
    const wire::Deadline deadline = wire::after(patience);
    while (const auto transport = listener_->accept(deadline, stop)) {
        try {
            if (auto text = read_word(*transport, place_.secret)) return text;
        } catch (const Error&) {
            // A stranger, or a word that was cut: it comes again.
        }
    }
    return std::nullopt;
}

bool send_life_sign(const LifeSignPlace& place, const std::string& text, std::chrono::milliseconds patience) {
    if (text.size() > kMostLifeSignText) return false;
    const wire::Deadline deadline = wire::after(patience);
    const std::string word = mac_of(place.secret, text) + "\n" + text;
    while (std::chrono::steady_clock::now() < deadline) {
        try {
            const auto transport = wire::connect_tcp(place.address, wire::after(kPatience));
            transport->send(as_bytes(word), wire::after(kPatience));
            transport->close();
            return true;
        } catch (const Error&) {
            std::this_thread::sleep_for(500ms);  // the link may need its time
        }
    }
    return false;
}

}  // namespace dupengine::cli
