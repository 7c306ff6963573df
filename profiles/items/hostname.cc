// The node's name: /etc/hostname, the lines of /etc/hosts that carry the old one as their own, and
// /etc/mailname if it is the old one.

#include <set>
#include <vector>

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

struct OldName {
    std::string full, brief;      // as in /etc/hostname, and without its domain
    std::set<std::string> own{};  // full names that are surely of this machine
};

// The new name for a word that is the old name; the word itself otherwise.
std::string renamed(const std::string& word, const OldName& before, const std::string& after) {
    if (word == before.full) return after;
    const std::string new_short = short_name(after);
    if (word == before.brief) return new_short;
    if (!before.own.contains(word)) return word;
    const bool has_domain = after.find('.') != std::string::npos;
    return has_domain ? after : new_short + word.substr(before.brief.size());
}

bool is_full_name_of(const std::string& word, const std::string& brief) {
    return word.rfind(brief + ".", 0) == 0;
}

// Address and names of a line of hosts(5), without its comment.
std::vector<std::string> words_of(const std::string& line) {
    std::vector<std::string> words;
    const std::size_t comment = std::min(line.find('#'), line.size());
    for (std::size_t at = 0; (at = line.find_first_not_of(" \t\r", at)) < comment;) {
        const std::size_t end = std::min(line.find_first_of(" \t\r", at), comment);
        words.push_back(line.substr(at, end - at));
        at = end;
    }
    return words;
}

template <typename Visit>
void each_line(const std::string& text, Visit visit) {
    for (std::size_t begin = 0; begin < text.size();) {
        const std::size_t end = std::min(text.find('\n', begin), text.size());
        visit(text.substr(begin, end - begin), end < text.size());
        begin = end + 1;
    }
}

// A full name on a loopback address is the machine's own (hostname(1), "THE FQDN").
void learn_own_names(OldName& name, const std::string& hosts) {
    if (name.full != name.brief) name.own.insert(name.full);
    each_line(hosts, [&](const std::string& line, bool) {
        const std::vector<std::string> words = words_of(line);
        if (words.empty() || (words[0].rfind("127.", 0) != 0 && words[0] != "::1")) return;
        for (const std::string& word : words)
            if (is_full_name_of(word, name.brief)) name.own.insert(word);
    });
}

std::string rename_line(const std::string& line, const OldName& before, const std::string& after) {
    // "10.0.0.5 web.example.org web" is another machine, even if this one is called web.
    for (const std::string& word : words_of(line))
        if (is_full_name_of(word, before.brief) && !before.own.contains(word)) return line;
    const std::size_t comment = std::min(line.find('#'), line.size());
    std::string result;
    bool first = true;  // the address
    for (std::size_t at = 0; at < comment;) {
        const std::size_t word = std::min(line.find_first_not_of(" \t\r", at), comment);
        const std::size_t end = std::min(line.find_first_of(" \t\r", word), comment);
        const std::string text = line.substr(word, end - word);
        result += line.substr(at, word - at) + (first ? text : renamed(text, before, after));
        first = first && text.empty();
        at = end;
    }
    return result + line.substr(comment);
}

std::string rename_in_hosts(const std::string& text, const OldName& before, const std::string& after) {
    std::string result;
    each_line(text, [&](const std::string& line, bool ended) {
        result += rename_line(line, before, after) + (ended ? "\n" : "");
    });
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
    OldName name{before, short_name(before)};
    if (hosts.kind == NodeKind::kFile) learn_own_names(name, *hosts.content);
    if (hosts.kind == NodeKind::kFile)
        staged.change("hostname", "/etc/hosts",
                      hosts.with_content(rename_in_hosts(*hosts.content, name, after)), before, after);
    const Node mail = staged.take(resolve(staged, "/etc/mailname"));
    if (mail.kind != NodeKind::kFile) return;
    const std::string mail_name = trimmed(*mail.content);
    if (is_full_name_of(mail_name, name.brief)) name.own.insert(mail_name);  // by what the file is for
    const std::string new_mail_name = renamed(mail_name, name, after);
    if (new_mail_name != mail_name)
        staged.change("hostname", "/etc/mailname", mail.with_content(new_mail_name + "\n"), mail_name,
                      new_mail_name);
}

}  // namespace dupengine::profiles
