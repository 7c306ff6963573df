#include "wire/peer_reference.h"

#include "base/error.h"
#include "image/reference.h"

namespace dupengine::wire {

std::optional<PeerReference> parse_peer_reference(std::string_view text) {
    constexpr std::string_view kScheme = "dup://";
    if (!text.starts_with(kScheme)) return std::nullopt;
    const std::string_view whole = text;
    text.remove_prefix(kScheme.size());
    const auto slash = text.find('/');
    PeerReference reference;
    if (slash != std::string_view::npos) {
        reference.name = text.substr(slash + 1);
        if (!reference.name.empty() && !image::is_image_name(reference.name))
            throw_error(Code::kUsage, "{}: '{}' cannot be the name of what is offered", whole,
                        reference.name);
        text = text.substr(0, slash);
    }
    if (text.empty() || text.front() == ':')
        throw_error(Code::kUsage, "{}: names no machine: dup://HOST[:PORT][/NAME]", whole);
    reference.address = parse_address(std::string(text), kPeerPort);
    return reference;
}

}  // namespace dupengine::wire
