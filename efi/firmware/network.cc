#include "efi/firmware/network.h"

#include "efi/core/device_path.h"
#include "efi/firmware/deadline.h"
#include "efi/firmware/http.h"

namespace dupengine::efi {
namespace {

constexpr std::size_t kPart = kMiB;

bool has_address(Ip4Config2& config) {
    alignas(8) std::array<std::byte, 1024> data{};
    std::uint64_t bytes = data.size();
    if (config.get_data(&config, Ip4Data::kInterface, &bytes, data.data()) != kSuccess) return false;
    return load_le<std::uint32_t>(data, kStationAddressAt) != 0;
}

// A network card with an address, or null. One that has none asks for it.
Handle find_network(BootServices& boot, Console& console, std::span<Handle> cards) {
    bool has_asked = false;
    Deadline deadline(boot, kPatience);
    do {
        for (Handle card : cards) {
            auto* config = protocol_of<Ip4Config2>(boot, card, kIp4Config2Protocol);
            if (config == nullptr) continue;
            if (has_address(*config)) return card;
            std::uint32_t policy = kPolicyDhcp;
            if (!has_asked) config->set_data(config, Ip4Data::kPolicy, sizeof policy, &policy);
        }
        if (!has_asked) console.print("Asks for an address (DHCP).\n");
        has_asked = true;
        boot.stall(100'000);
    } while (!deadline.has_come());
    return nullptr;
}

/// One connection, and one thing at a time on it.
class Connection {
  public:
    Connection(BootServices& boot, Handle card)
        : boot_(boot), binding_(protocol_of<ServiceBinding>(boot, card, kHttpBinding)) {
        if (binding_ == nullptr || binding_->create_child(binding_, &child_) != kSuccess) return;
        auto* http = protocol_of<Http>(boot, child_, kHttpProtocol);
        HttpAccessPoint access{true, {}, {}, 0};
        HttpConfig config{1, 10'000, false, &access};
        if (http == nullptr || http->configure(http, &config) != kSuccess) return;
        if (boot.create_event(0, 0, nullptr, nullptr, &token_.event) != kSuccess) return;
        http_ = http;
    }
    ~Connection() {
        if (http_ != nullptr) {
            http_->configure(http_, nullptr);
            boot_.close_event(token_.event);
        }
        if (child_ != nullptr) binding_->destroy_child(binding_, child_);
    }
    Connection(const Connection&) = delete;
    Connection& operator=(const Connection&) = delete;
    bool valid() const { return http_ != nullptr; }

    bool request(HttpMessage& message) { return finish(http_->request, message); }
    bool response(HttpMessage& message) { return finish(http_->response, message); }

  private:
    bool finish(Status(EFIAPI* begin)(Http*, HttpToken*), HttpMessage& message) {
        token_.status = kSuccess;
        token_.message = &message;
        if (begin(http_, &token_) != kSuccess) return false;
        Deadline deadline(boot_, kPatience);
        while (boot_.check_event(token_.event) != kSuccess) {
            if (deadline.has_come()) {
                http_->cancel(http_, &token_);
                return false;
            }
            http_->poll(http_);
        }
        return token_.status == kSuccess;
    }

    BootServices& boot_;
    ServiceBinding* binding_;
    Handle child_ = nullptr;
    Http* http_ = nullptr;
    HttpToken token_{};
};

TextView text_of(const char* text) {
    return text == nullptr ? TextView() : TextView(text);
}

// With a zero at the end, which a text has not.
using CText = std::array<char, 260>;
CText c_text(TextView text) {
    CText result{};
    for (std::size_t i = 0; i < text.size() && i + 1 < result.size(); ++i)
        result[i] = text[i];
    return result;
}

/// `range`: empty for the whole file.
WebAnswer send_request(Connection& connection, TextView url, const WebAddress& address, TextView range = {}) {
    std::array<char16_t, 300> wide{};
    CText host = c_text(address.authority), part = c_text(range);
    if (to_utf16(url, false, wide) == 0) return {"its address is too long"};
    HttpRequest request{0, wide.data()};
    std::array<HttpHeader, 4> headers = {
        {{"Host", host.data()}, {"Accept", "*/*"}, {"User-Agent", "dupengine.efi"}, {"Range", part.data()}}};
    HttpMessage message{&request, headers.size() - (range.empty() ? 1 : 0), headers.data(), 0, nullptr};
    if (!connection.request(message)) return {"no web server answers there", true};
    return {};
}

// How the answer begins: what it is, and how long the rest.
WebAnswer read_beginning(BootServices& boot, Connection& connection, WebAnswer (*judge)(std::uint32_t),
                         std::uint64_t& bytes) {
    HttpResponse response{0};
    HttpMessage message{&response, 0, nullptr, 0, nullptr};
    const bool has_come = connection.response(message);
    std::optional<std::uint64_t> length;
    for (std::uint64_t i = 0; message.headers != nullptr && i < message.header_count; ++i)
        if (is_content_length(text_of(message.headers[i].name)))
            length = read_content_length(text_of(message.headers[i].value));
    if (message.headers != nullptr) boot.free_pool(message.headers);
    // What it refuses, firmware calls an error, with the number.
    if (!has_come && response.status_code == 0) return {"the web server does not answer", true};
    if (const WebAnswer answer = judge(response.status_code); !answer.reason.empty()) return answer;
    if (!length || *length == 0) return {"the web server does not say how large it is"};
    bytes = *length;
    return {};
}

// Null: nothing is shown.
WebAnswer read_body(Connection& connection, Console* console, Buffer into) {
    WebBody body(into);
    std::size_t shown = 0;
    while (!body.complete()) {
        const Buffer room = body.room(kPart);
        HttpMessage message{nullptr, 0, nullptr, room.size(), room.data()};
        const bool has_come = connection.response(message);
        if (const TextView reason = body.filled(has_come ? message.body_bytes : 0); !reason.empty()) {
            if (console != nullptr) console->print("\n");
            return {reason, true};
        }
        if (console == nullptr || (body.size() / kMiB == shown && !body.complete())) continue;
        shown = body.size() / kMiB;
        console->print(Text<80>().add("\r").number(shown).add(" of ").number(into.size() / kMiB).add(" MiB"));
    }
    if (console != nullptr) console->print("\n");
    return {};
}

// The card that a connection can be made by.
WebAnswer find_card(BootServices& boot, Console& console, Handle& card) {
    const Handles cards(boot, &kHttpBinding);
    if (cards.all().empty()) return {"this firmware has no network card that it can fetch files with"};
    card = find_network(boot, console, cards.all());
    if (card == nullptr) return {"no DHCP server gives this machine an address", true};
    return {};
}

}  // namespace

WebAnswer fetch_file(BootServices& boot, Console& console, TextView url, const WebAddress& address,
                     Pool& into) {
    Handle card = nullptr;
    if (const WebAnswer answer = find_card(boot, console, card); !answer.reason.empty()) return answer;
    Connection connection(boot, card);
    if (!connection.valid()) return {"this firmware cannot use its network card", true};
    if (const WebAnswer answer = send_request(connection, url, address); !answer.reason.empty())
        return answer;
    std::uint64_t bytes = 0;
    if (const WebAnswer answer = read_beginning(boot, connection, answer_of, bytes); !answer.reason.empty())
        return answer;
    if (bytes > kLargestWebFile) return {"it is too large"};
    if (!into.allocate(bytes)) return {"there is not enough memory"};
    return read_body(connection, &console, into.all());
}

WebAnswer fetch_file_part(BootServices& boot, Console& console, TextView url, const WebAddress& address,
                          std::uint64_t offset, Buffer part) {
    Handle card = nullptr;
    if (const WebAnswer answer = find_card(boot, console, card); !answer.reason.empty()) return answer;
    Connection connection(boot, card);
    if (!connection.valid()) return {"this firmware cannot use its network card", true};
    if (const WebAnswer answer = send_request(connection, url, address, range_of(offset, part.size()));
        !answer.reason.empty())
        return answer;
    std::uint64_t bytes = 0;
    if (const WebAnswer answer = read_beginning(boot, connection, answer_of_part, bytes);
        !answer.reason.empty())
        return answer;
    if (bytes != part.size()) return {"the web server sends another part than it was asked for"};
    return read_body(connection, nullptr, part);
}

}  // namespace dupengine::efi
