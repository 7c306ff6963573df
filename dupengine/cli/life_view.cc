#include "cli/life_view.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "base/units.h"

namespace dupengine::cli {
namespace {

using Json = nlohmann::ordered_json;

std::string text_of(const Json& object, const char* key) {
    const auto found = object.find(key);
    return found != object.end() && found->is_string() ? found->get<std::string>() : std::string();
}

std::uint64_t number_of(const Json& object, const char* key) {
    const auto found = object.find(key);
    return found != object.end() && found->is_number() ? found->get<std::uint64_t>() : 0;
}

const Json& list_of(const Json& object, const char* key) {
    static const Json kNone = Json::array();
    const auto found = object.find(key);
    return found != object.end() && found->is_array() ? *found : kNone;
}

std::string names_in(const Json& list) {
    std::string text;
    for (const Json& name : list)
        if (name.is_string()) text += (text.empty() ? "" : ", ") + name.get<std::string>();
    return text;
}

std::string headline(const Json& said) {
    const std::string roles = names_in(list_of(said, "roles"));
    return fmt::format("the target lives: it is {}{}, generation {} of its profile; it was somebody after {}",
                       text_of(said, "node"), roles.empty() ? "" : " (" + roles + ")",
                       number_of(said, "generation"),
                       format_duration(static_cast<double>(number_of(said, "seconds"))));
}

std::string change(const Json& one) {
    const std::string before = text_of(one, "before"), after = text_of(one, "after");
    std::string text = fmt::format("  {:<14} {}", text_of(one, "item"), text_of(one, "where"));
    if (!before.empty()) text += ": " + before;
    if (!after.empty()) text += (before.empty() ? ": " : " -> ") + after;
    return text;
}

}  // namespace

std::string draw_life(const Json& said, Charset charset) {
    if (!said.is_object()) return "the target lives\n";
    std::string text = printable(headline(said), charset) + "\n";
    for (const Json& one : list_of(said, "changes"))
        if (one.is_object()) text += printable(change(one), charset) + "\n";
    text +=
        fmt::format("  of this machine's, ended there: {} connections, {} datagram sockets, {} leases\n",
                    number_of(said, "connections_destroyed"), number_of(said, "datagram_sockets_destroyed"),
                    list_of(said, "leases_dropped").size());
    for (const Json& note : list_of(said, "notes"))
        if (note.is_string())
            text += "note: on the target: " + printable(note.get<std::string>(), charset) + "\n";
    if (said.contains("shortened"))
        text += "note: the target had more to say: /run/dupengine/woken.json there\n";
    return text;
}

}  // namespace dupengine::cli
