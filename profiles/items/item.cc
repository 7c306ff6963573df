#include "profiles/items/item.h"

#include "codec/digest.h"

namespace dupengine::profiles {
namespace {

const char* spelled(Mode mode) {
    switch (mode) {
        case Mode::kIgnore:
            return "ignore";
        case Mode::kSet:
            return "set";
        case Mode::kDerive:
            return "derive";
        case Mode::kRegenerate:
            return "regenerate";
        case Mode::kRemove:
            return "remove";
    }
    return "ignore";
}

}  // namespace

Bytes derive(const NodeSecret& secret, std::string_view what) {
    // The prefix keeps these values apart from any other use of the secret.
    const std::string message = "dupengine item v1: " + std::string(what);
    const codec::Sha256 value = codec::hmac_sha256(as_bytes(secret.bytes), as_bytes(message));
    return {value.begin(), value.end()};
}

Guid derive_guid(const NodeSecret& secret, std::string_view what) {
    const Bytes bytes = derive(secret, what);
    return Guid::from_entropy(std::span(bytes).first<16>());
}

void refuse_mode(std::string_view item, Mode mode) {
    throw_error(Code::kRefused,
                "the profile wants {} in mode '{}', which it does not have (dupengine-profile(5))", item,
                spelled(mode));
}

}  // namespace dupengine::profiles
