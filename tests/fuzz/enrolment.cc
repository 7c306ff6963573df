// Any text as a token, and as the messages of an enrolment. A token that is read is written as the same one.

#include <algorithm>
#include <cstdlib>

#include "wire/certificates.h"
#include "wire/enrol_messages.h"
#include "wire/tcp.h"
#include "wire/token.h"

namespace {

using namespace dupengine;

template <typename Parse>
void parse(Code refusal, Parse parse_it) {
    try {
        parse_it();
    } catch (const Error& e) {
        if (e.code() != refusal) std::abort();
    }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const std::string text(reinterpret_cast<const char*>(data), size);
    parse(Code::kUsage, [&] {
        const Secret token = wire::parse_token(text);
        const Secret again = wire::parse_token(wire::token_text(token));
        if (!std::ranges::equal(token.all(), again.all())) std::abort();
    });
    parse(Code::kUsage, [&] {
        const wire::Address address = wire::parse_address(text, wire::kPeerPort);
        if (wire::parse_address(address.text(), 1).text() != address.text()) std::abort();
    });
    parse(Code::kPeer, [&] { wire::parse_welcome_message(text); });
    parse(Code::kPeer, [&] {
        const wire::JoinMessage message = wire::parse_join_message(text);
        wire::key_of_request(message.request);
    });
    return 0;
}
