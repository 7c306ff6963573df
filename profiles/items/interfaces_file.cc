#include "profiles/items/interfaces_file.h"

#include <algorithm>
#include <sstream>
#include <vector>

namespace dupengine::profiles {
namespace {

constexpr const char* kFile = "/etc/network/interfaces";
constexpr const char* kMark = "# taken out by the dupengine profile: ";

std::vector<std::string> words_of(const std::string& line) {
    std::istringstream stream(line);
    std::vector<std::string> words;
    for (std::string word; stream >> word;)
        words.push_back(word);
    return words;
}

// A logical line: a backslash at its end goes on with the next one.
std::vector<std::string> lines_of(const std::string& text) {
    std::vector<std::string> lines;
    bool goes_on = false;
    for (std::size_t begin = 0; begin < text.size();) {
        const std::size_t end = std::min(text.find('\n', begin), text.size());
        const std::string line = text.substr(begin, end - begin);
        begin = end + 1;
        if (goes_on)
            lines.back() += "\n" + line;
        else
            lines.push_back(line);
        goes_on = line.ends_with('\\');
    }
    return lines;
}

bool begins_stanza(const std::string& word) {
    for (const char* one : {"iface", "mapping", "auto", "source", "source-directory", "template", "rename",
                            "no-auto-down", "no-scripts"})
        if (word == one) return true;
    return word.rfind("allow-", 0) == 0;
}

std::string commented(const std::string& line) {
    std::string text = kMark;
    for (const char c : line)
        text += c == '\n' ? std::string("\n") + kMark : std::string(1, c);
    return text;
}

}  // namespace

std::string without_interface(const std::string& text, const std::string& name) {
    std::string result;
    bool inside = false;
    for (const std::string& line : lines_of(text)) {
        std::vector<std::string> words = words_of(line);
        const std::string first = words.empty() ? "" : words.front();
        if (begins_stanza(first)) inside = first == "iface" && words.size() > 1 && words[1] == name;
        const bool is_comment = first.empty() || first.front() == '#';
        const bool is_list = first == "auto" || first.rfind("allow-", 0) == 0;
        if (inside && !is_comment) {
            result += commented(line) + "\n";
        } else if (is_list && std::erase(words, name) > 0) {
            result += commented(line) + "\n";
            std::string rest;
            for (const std::string& word : words)
                if (word != "\\") rest += (rest.empty() ? "" : " ") + word;
            if (words.size() > 1) result += rest + "\n";
        } else {
            result += line + "\n";
        }
    }
    return result;
}

bool has_ifupdown(const Tree& tree) {
    const auto there = [&](const char* path) { return tree.look(resolve(tree, path)).exists(); };
    if (!there("/sbin/ifup") && !there("/usr/sbin/ifup")) return false;
    for (const std::string& line : lines_of(read_text(tree, kFile))) {
        const std::vector<std::string> words = words_of(line);
        if (words.size() != 2) continue;
        const std::string path = words[1].front() == '/' ? words[1] : "/etc/network/" + words[1];
        if (words[0] == "source" && path == std::string(kInterfacesFolder) + "/*") return true;
        if (words[0] == "source-directory" && path == kInterfacesFolder) return true;
    }
    return false;
}

void take_out_of_interfaces(Staged& staged, const std::string& name) {
    std::vector<std::string> files = {kFile};
    for (const std::string& leaf : staged.list(resolve(staged, kInterfacesFolder)))
        if (leaf.rfind("dupengine-", 0) != 0) files.push_back(join(kInterfacesFolder, leaf));
    for (const std::string& path : files) {
        const Node there = staged.take(resolve(staged, path));
        if (there.kind != NodeKind::kFile) continue;
        const std::string text = without_interface(*there.content, name);
        if (text == *there.content || text == *there.content + "\n") continue;
        staged.change("link", path, there.with_content(text), name, "taken out");
    }
}

}  // namespace dupengine::profiles
