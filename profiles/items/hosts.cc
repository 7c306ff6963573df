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

std::string without_block(const std::string& text) {
    const std::size_t begin = text.find(kBegin);
    const std::size_t end = begin == std::string::npos ? begin : text.find(kEnd, begin);
    if (end == std::string::npos) return text;
    return text.substr(0, begin) + text.substr(end + kEnd.size());
}

}  // namespace

void stage_hosts(ItemContext& context) {
    Staged& staged = context.staged;
    const Node there = staged.take(resolve(staged, "/etc/hosts"));
    if (!there.exists() && context.profile.hosts.empty()) return;
    std::string text = there.kind == NodeKind::kFile ? without_block(*there.content) : std::string();
    const std::string block = block_of(context.profile.hosts);
    if (!block.empty() && !text.empty() && text.back() != '\n') text += '\n';
    const Node node =
        there.kind == NodeKind::kFile ? there.with_content(text + block) : Node::file(text + block, 0644);
    staged.change("host", "/etc/hosts", node, "",
                  block.empty() ? "(no lines of a profile)"
                                : fmt::format("{} lines of the profile", context.profile.hosts.size()));
}

}  // namespace dupengine::profiles
