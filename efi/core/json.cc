#include "efi/core/json.h"

namespace dupengine::efi {
namespace {

constexpr unsigned kDeepest = 8;

using Path = Text<80>;

class Walk {
  public:
    Walk(TextView text, JsonSink& sink) : text_(text), sink_(sink) {}

    bool run() { return value({}, 0) && (skip(), at_ == text_.size()); }

  private:
    char here() const { return at_ < text_.size() ? text_[at_] : '\0'; }
    void skip() {
        while (here() == ' ' || here() == '\t' || here() == '\r' || here() == '\n')
            ++at_;
    }
    bool take(char c) {
        skip();
        if (at_ >= text_.size() || here() != c) return false;
        ++at_;
        return true;
    }

    bool string(TextView& into) {
        if (!take('"')) return false;
        const std::size_t begin = at_;
        for (; at_ < text_.size(); ++at_) {
            if (here() == '"') {
                into = text_.after(begin).first(at_ - begin);
                ++at_;
                return true;
            }
            if (here() == '\\') ++at_;
        }
        return false;
    }

    bool value(const Path& path, unsigned depth) {
        if (depth > kDeepest) return false;
        skip();
        if (here() == '{') return object(path, depth);
        if (here() == '[') return array(path, depth);
        if (here() == '"') {
            TextView text;
            if (!string(text)) return false;
            sink_.text(path, text);
            return true;
        }
        return word(path);
    }

    bool object(const Path& path, unsigned depth) {
        take('{');
        if (!take('}')) {
            do {
                Path below = path;
                TextView key;
                if (!string(key) || !take(':')) return false;
                if (!below.empty()) below.add('/');
                below.add(key);
                if (!value(below, depth + 1)) return false;
            } while (take(','));
            if (!take('}')) return false;
        }
        sink_.end_of_object(path);
        return true;
    }

    bool array(const Path& path, unsigned depth) {
        take('[');
        if (take(']')) return true;
        do {
            if (!value(path, depth + 1)) return false;
        } while (take(','));
        return take(']');
    }

    // A number, true, false, null. Only whole numbers from 0 on are told.
    bool word(const Path& path) {
        std::uint64_t number = 0;
        bool whole = true;
        const std::size_t begin = at_;
        for (; at_ < text_.size(); ++at_) {
            const char c = here();
            if (c == ',' || c == '}' || c == ']' || c == ' ' || c == '\t' || c == '\r' || c == '\n') break;
            whole = whole && c >= '0' && c <= '9' &&
                    !__builtin_mul_overflow(number, std::uint64_t{10}, &number) &&
                    !__builtin_add_overflow(number, static_cast<std::uint64_t>(c - '0'), &number);
        }
        if (at_ == begin) return false;
        if (whole) sink_.number(path, number);
        return true;
    }

    TextView text_;
    JsonSink& sink_;
    std::size_t at_ = 0;
};

}  // namespace

bool read_json(TextView text, JsonSink& sink) {
    return Walk(text, sink).run();
}

}  // namespace dupengine::efi
