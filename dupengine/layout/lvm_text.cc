#include "layout/lvm_text.h"

#include <cctype>
#include <charconv>

#include "base/error.h"

namespace dupengine::layout {
namespace {

constexpr int kDeepest = 8;  // LVM itself uses five

class Parser {
  public:
    explicit Parser(std::string_view text) : text_(text) {}

    LvmSection run() {
        LvmSection root = read_section(0);
        if (at_ != text_.size()) fail("a bracket that closes nothing");
        return root;
    }

  private:
    [[noreturn]] void fail(const char* what) const {
        throw_error(Code::kIntegrity, "its metadata has {} at character {}", what, at_);
    }

    void skip_space() {
        while (at_ < text_.size()) {
            if (text_[at_] == '#') {
                while (at_ < text_.size() && text_[at_] != '\n')
                    ++at_;
            } else if (std::isspace(static_cast<unsigned char>(text_[at_])) != 0 || text_[at_] == '\0') {
                ++at_;
            } else {
                return;
            }
        }
    }

    bool take(char c) {
        skip_space();
        if (at_ == text_.size() || text_[at_] != c) return false;
        ++at_;
        return true;
    }

    std::string read_word() {
        skip_space();
        const std::size_t begin = at_;
        while (at_ < text_.size() && (std::isalnum(static_cast<unsigned char>(text_[at_])) != 0 ||
                                      std::string_view("_-+./@:").find(text_[at_]) != std::string_view::npos))
            ++at_;
        if (at_ == begin) fail("no name where one belongs");
        return std::string(text_.substr(begin, at_ - begin));
    }

    std::string read_string() {
        std::string value;
        for (; at_ < text_.size() && text_[at_] != '"'; ++at_) {
            if (text_[at_] == '\\' && at_ + 1 < text_.size()) ++at_;
            value += text_[at_];
        }
        if (at_ == text_.size()) fail("a string without an end");
        ++at_;
        return value;
    }

    std::vector<std::string> read_list() {
        std::vector<std::string> list;
        while (!take(']')) {
            list.push_back(take('"') ? read_string() : read_word());
            if (!take(',') && at_ < text_.size() && text_[at_] != ']') fail("a list without commas");
        }
        return list;
    }

    void read_value(LvmSection& section, std::string name) {
        if (take('[')) {
            section.lists[std::move(name)] = read_list();
        } else if (take('"')) {
            section.lists[std::move(name)] = {read_string()};
        } else {
            const std::string word = read_word();
            std::uint64_t number = 0;
            const auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), number);
            // Negative and fractional numbers exist, but none that matters here.
            if (error == std::errc() && end == word.data() + word.size())
                section.numbers[std::move(name)] = number;
        }
    }

    LvmSection read_section(int depth) {
        if (depth > kDeepest) fail("sections too deep");
        LvmSection section;
        for (;;) {
            skip_space();
            if (at_ == text_.size() || text_[at_] == '}') return section;
            std::string name = read_word();
            if (take('=')) {
                read_value(section, std::move(name));
            } else if (take('{')) {
                LvmSection inner = read_section(depth + 1);
                if (!take('}')) fail("a section without an end");
                section.sections[std::move(name)] = std::move(inner);
            } else {
                fail("a name without a value");
            }
        }
    }

    std::string_view text_;
    std::size_t at_ = 0;
};

template <typename Map>
const auto& find_or_throw(const Map& map, std::string_view name) {
    const auto at = map.find(name);
    if (at == map.end()) throw_error(Code::kIntegrity, "its metadata has no {}", name);
    return at->second;
}

}  // namespace

const LvmSection& LvmSection::section(std::string_view name) const {
    return find_or_throw(sections, name);
}

std::uint64_t LvmSection::number(std::string_view name) const {
    return find_or_throw(numbers, name);
}

const std::string& LvmSection::text(std::string_view name) const {
    const auto& values = find_or_throw(lists, name);
    if (values.size() != 1)
        throw_error(Code::kIntegrity, "its metadata has {} values of {}", values.size(), name);
    return values.front();
}

const std::vector<std::string>& LvmSection::list(std::string_view name) const {
    static const std::vector<std::string> kNone;
    const auto at = lists.find(name);
    return at == lists.end() ? kNone : at->second;
}

LvmSection parse_lvm_text(std::string_view text) {
    return Parser(text).run();
}

}  // namespace dupengine::layout
