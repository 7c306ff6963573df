#include "wire/enrol_messages.h"

#include <algorithm>
#include <nlohmann/json.hpp>

namespace dupengine::wire {
namespace {

using nlohmann::json;

constexpr std::size_t kErrorLimit = 500;

json parse_object(std::string_view text, std::size_t limit) {
    json object = text.size() > limit ? json() : json::parse(text, nullptr, false);
    if (!object.is_object()) throw_error(Code::kPeer, "what was sent is no message of an enrolment");
    return object;
}

std::string text_at(const json& object, const char* key) {
    const auto found = object.find(key);
    if (found == object.end() || !found->is_string())
        throw_error(Code::kPeer, "a message of an enrolment has no text \"{}\"", key);
    return found->get<std::string>();
}

}  // namespace

std::string text_of(const JoinMessage& message) {
    return json{{"name", message.name}, {"host", message.host}, {"request", message.request}}.dump();
}

JoinMessage parse_join_message(std::string_view text) {
    const json object = parse_object(text, kJoinMessageLimit);
    return {text_at(object, "name"), text_at(object, "host"), text_at(object, "request")};
}

std::string text_of(const WelcomeMessage& message) {
    if (!message.error.empty())
        return json{{"error", message.error}}.dump(-1, ' ', false, json::error_handler_t::replace);
    return json{{"certificate", message.welcome.certificate},
                {"authority", message.welcome.authority},
                {"revoked", message.welcome.revoked}}
        .dump();
}

WelcomeMessage parse_welcome_message(std::string_view text) {
    const json object = parse_object(text, kWelcomeMessageLimit);
    if (!object.contains("error"))
        return {{text_at(object, "certificate"), text_at(object, "authority"), text_at(object, "revoked")},
                ""};
    std::string error = text_at(object, "error").substr(0, kErrorLimit);
    // It ends up on a terminal.
    std::ranges::replace_if(
        error, [](unsigned char c) { return c < ' ' || c > '~'; }, '?');
    return {{}, error.empty() ? "for no reason" : error};
}

}  // namespace dupengine::wire
