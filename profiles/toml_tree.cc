#include "profiles/toml_tree.h"

#include <algorithm>
#include <optional>

// The parser is compiled in here whatever the package's flags say: the bound below is ours, the sanitizers
// and the fuzzer see into it, and the command needs no further library where it repairs machines.
#undef TOML_HEADER_ONLY
#undef TOML_SHARED_LIB
#define TOML_HEADER_ONLY 1
#define TOML_MAX_NESTED_VALUES 16
#define TOML_ENABLE_FORMATTERS 0
#include <toml++/toml.h>

namespace dupengine::profiles {
namespace {

constexpr unsigned kMaxDots = 8;

TomlPosition position(const toml::source_position& at) {
    return at ? TomlPosition{at.line, at.column} : TomlPosition{};
}

// The library builds a table per part of a dotted key and takes them down recursively: a key with a hundred
// thousand parts would run out of stack. So the parts are counted before it sees the text, with just enough
// of a lexer to know strings and comments.
class DotCounter {
  public:
    explicit DotCounter(std::string_view text) : text_(text) {}

    std::optional<TomlPosition> first_deep_key() {
        unsigned dots = 0;
        while (at_ < text_.size()) {
            const char c = text_[at_];
            if (c == '"' || c == '\'') {
                skip_string(c);
                continue;
            }
            if (c == '#') {
                skip_comment();
                continue;
            }
            if (c == '.' && ++dots > kMaxDots) return here_;
            if (c == '=' || c == ',' || c == '{' || c == '[' || c == '\n') dots = 0;
            advance(1);
        }
        return std::nullopt;
    }

  private:
    void advance(std::size_t n) {
        for (; n > 0 && at_ < text_.size(); --n, ++at_) {
            ++here_.column;
            if (text_[at_] == '\n') here_ = {here_.line + 1, 1};
        }
    }
    void skip_comment() {
        while (at_ < text_.size() && text_[at_] != '\n')
            advance(1);
    }
    void skip_string(char quote) {
        const std::string triple(3, quote);
        const bool multi_line = text_.substr(at_, 3) == triple;
        advance(multi_line ? 3 : 1);
        while (at_ < text_.size()) {
            if (quote == '"' && text_[at_] == '\\') {
                advance(2);
            } else if (multi_line && text_.substr(at_, 3) == triple) {
                advance(3);
                while (at_ < text_.size() && text_[at_] == quote)
                    advance(1);  // up to two quotes before the end
                return;
            } else if (!multi_line && (text_[at_] == quote || text_[at_] == '\n')) {
                return advance(1);
            } else {
                advance(1);
            }
        }
    }

    std::string_view text_;
    std::size_t at_ = 0;
    TomlPosition here_;
};

TomlNode convert(const toml::node& from);

void convert_table(const toml::table& from, TomlNode& to) {
    for (const auto& [key, value] : from)
        to.entries.push_back({std::string(key.str()), position(key.source().begin), convert(value)});
    std::stable_sort(to.entries.begin(), to.entries.end(),
                     [](const TomlEntry& a, const TomlEntry& b) { return a.at < b.at; });
}

TomlNode convert(const toml::node& from) {
    TomlNode to;
    to.at = position(from.source().begin);
    const auto is = [&](TomlNode::Kind kind, const char* name) {
        to.kind = kind;
        to.kind_name = name;
    };
    switch (from.type()) {
        case toml::node_type::table:
            convert_table(*from.as_table(), to);
            break;
        case toml::node_type::array:
            is(TomlNode::Kind::kArray, "an array");
            for (const toml::node& item : *from.as_array())
                to.items.push_back(convert(item));
            break;
        case toml::node_type::string:
            is(TomlNode::Kind::kString, "a string");
            to.text = from.as_string()->get();
            break;
        case toml::node_type::integer:
            is(TomlNode::Kind::kInteger, "an integer");
            to.integer = from.as_integer()->get();
            break;
        case toml::node_type::boolean:
            is(TomlNode::Kind::kBoolean, "a boolean");
            to.integer = from.as_boolean()->get() ? 1 : 0;
            break;
        case toml::node_type::floating_point:
            is(TomlNode::Kind::kOther, "a floating-point number");
            break;
        default:
            is(TomlNode::Kind::kOther, "a date or time");
            break;
    }
    return to;
}

}  // namespace

bool parse_toml(std::string_view text, TomlNode& root, TomlFault& fault) {
    if (text.size() > kTomlLimitBytes) {
        fault = {{}, "the text is larger than " + std::to_string(kTomlLimitBytes / 1024) + " KiB"};
        return false;
    }
    if (const auto deep = DotCounter(text).first_deep_key()) {
        fault = {*deep, "a key of more than " + std::to_string(kMaxDots + 1) + " parts"};
        return false;
    }
    try {
        root = convert(toml::parse(text));
        return true;
    } catch (const toml::parse_error& e) {
        fault = {position(e.source().begin), std::string(e.description())};
        return false;
    }
}

}  // namespace dupengine::profiles
