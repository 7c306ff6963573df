// The node's name: /etc/hostname, the lines of /etc/hosts that carry the old one, and /etc/mailname if it is
// the old one.

#include "base/error.h"
#include "profiles/items/item.h"

namespace dupengine::profiles {
namespace {

std::string trimmed(std::string text) {
    const std::size_t begin = text.find_first_not_of(" \t\r\n");
    if (begin == std::string::npos) return {};
    return text.substr(begin, text.find_last_not_of(" \t\r\n") - begin + 1);
}

// hostname(5): the first line that is no comment.
std::string parse_hostname(const std::string& text) {
    for (std::size_t begin = 0; begin < text.size();) {
        const std::size_t end = std::min(text.find('\n', begin), text.size());
        const std::string line = trimmed(text.substr(begin, end - begin));
        if (!line.empty() && line.front() != '#') return line;
        begin = end + 1;
    }
    return {};
}

std::string short_name(const std::string& name) {
    return name.substr(0, name.find('.'));
}

// The new name for a word of /etc/hosts that is the old name, alone or with any domain; the word itself
// otherwise.
std::string renamed(const std::string& word, const std::string& before, const std::string& after) {
    if (word == before) return after;
    const std::string old_short = short_name(before), new_short = short_name(after);
    if (word == old_short) return new_short;
    if (word.rfind(old_short + ".", 0) != 0) return word;
    const bool has_domain = after.find('.') != std::string::npos;
    return has_domain ? after : new_short + word.substr(old_short.size());
}

std::string rename_line(const std::string& line, const std::string& before, const std::string& after) {
    const std::size_t comment = std::min(line.find('#'), line.size());
    std::string result;
    bool first = true;  // the address
    for (std::size_t at = 0; at < comment;) {
        const std::size_t word = std::min(line.find_first_not_of(" \t", at), comment);
        const std::size_t end = std::min(line.find_first_of(" \t", word), comment);
        const std::string text = line.substr(word, end - word);
        result += line.substr(at, word - at) + (first ? text : renamed(text, before, after));
        first = first && text.empty();
        at = end;
    }
    return result + line.substr(comment);
}

std::string rename_in_hosts(const std::string& text, const std::string& before, const std::string& after) {
    std::string result;
    for (std::size_t begin = 0; begin < text.size();) {
        const std::size_t end = std::min(text.find('\n', begin), text.size());
        result += rename_line(text.substr(begin, end - begin), before, after);
        if (end < text.size()) result += '\n';
        begin = end + 1;
    }
    return result;
}

std::string wanted_name(const Profile& profile) {
    switch (profile.hostname.mode) {
        case Mode::kSet:
            return profile.hostname.value.empty() ? profile.node : profile.hostname.value;
        case Mode::kDerive:
            return profile.node;
        default:
            refuse_mode("hostname", profile.hostname.mode);
    }
}

Node text_like(const Node& there, const std::string& text) {
    return there.kind == NodeKind::kFile ? there.with_content(text) : Node::file(text, 0644);
}

}  // namespace

void stage_hostname(ItemContext& context) {
    if (context.profile.hostname.mode == Mode::kIgnore) return;
    Staged& staged = context.staged;
    const std::string before = parse_hostname(read_text(staged, "/etc/hostname"));
    if (context.profile.hostname.mode == Mode::kRemove) {
        staged.change("hostname", "/etc/hostname", {}, before, "(none)");
        return;
    }
    const std::string after = wanted_name(context.profile);
    if (before == after) return;
    const Node name_file = staged.take(resolve(staged, "/etc/hostname"));
    staged.change("hostname", "/etc/hostname", text_like(name_file, after + "\n"), before, after);
    if (before.empty() || before == "localhost") return;
    const Node hosts = staged.take(resolve(staged, "/etc/hosts"));
    if (hosts.kind == NodeKind::kFile)
        staged.change("hostname", "/etc/hosts",
                      hosts.with_content(rename_in_hosts(*hosts.content, before, after)), before, after);
    const Node mail = staged.take(resolve(staged, "/etc/mailname"));
    if (mail.kind != NodeKind::kFile) return;
    const std::string mail_name = trimmed(*mail.content), new_mail_name = renamed(mail_name, before, after);
    if (new_mail_name != mail_name)
        staged.change("hostname", "/etc/mailname", mail.with_content(new_mail_name + "\n"), mail_name,
                      new_mail_name);
}

}  // namespace dupengine::profiles
