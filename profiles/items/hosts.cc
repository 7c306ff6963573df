// [[host]]: further lines of /etc/hosts, between two marks, so that they can be found again and replaced.

#include "base/error.h"
#include "profiles/items/item.h"

namespace dupengine::profiles {
namespace {

constexpr std::string_view kBegin = "# begin: hosts of the dupengine profile\n";
constexpr std::string_view kEnd = "# end: hosts of the dupengine profile\n";

std::string block_of(const std::vector<Host>& hosts) {
    if (hosts.empty()) return {};
    std::string block(kBegin);
    for (const Host& host : hosts) {
        block += host.address;
        for (const std::string& name : host.names)
            block += (&name == &host.names.front() ? '\t' : ' ') + name;
        block += '\n';
    }
    return block + std::string(kEnd);
}

bool stands_on_a_line(const std::string& text, std::size_t at) {
    return at == 0 || text[at - 1] == '\n';
}

std::size_t find_mark(const std::string& text, std::string_view mark, std::size_t from) {
    std::size_t at = text.find(mark, from);
    while (at != std::string::npos && !stands_on_a_line(text, at))
        at = text.find(mark, at + 1);
    return at;
}

struct Rest {
    std::string text;
    bool has_open_block = false;
};

// A begin without an end of its own may have anything behind it, so that stays.
Rest without_blocks(const std::string& text) {
    Rest rest;
    std::size_t at = 0;
    for (std::size_t begin = find_mark(text, kBegin, 0); begin != std::string::npos;) {
        const std::size_t next = find_mark(text, kBegin, begin + 1), end = find_mark(text, kEnd, begin);
        if (end < next) {
            rest.text += text.substr(at, begin - at);
            at = end + kEnd.size();
        } else {
            rest.has_open_block = true;
        }
        begin = next;
    }
    rest.text += text.substr(at);
    return rest;
}

}  // namespace

void stage_hosts(ItemContext& context) {
    Staged& staged = context.staged;
    const Node there = staged.take(resolve(staged, "/etc/hosts"));
    if (!there.exists() && context.profile.hosts.empty()) return;
    const Rest rest = there.kind == NodeKind::kFile ? without_blocks(*there.content) : Rest{};
    if (rest.has_open_block)
        context.notes.emplace_back(
            "/etc/hosts: a block of a profile's hosts has no end mark any more; its lines are left as they "
            "are");
    std::string text = rest.text;
    const std::string block = block_of(context.profile.hosts);
    if (!block.empty() && !text.empty() && text.back() != '\n') text += '\n';
    const Node node =
        there.kind == NodeKind::kFile ? there.with_content(text + block) : Node::file(text + block, 0644);
    staged.change("host", "/etc/hosts", node, "",
                  block.empty() ? "(no lines of a profile)"
                                : fmt::format("{} lines of the profile", context.profile.hosts.size()));
}

}  // namespace dupengine::profiles
