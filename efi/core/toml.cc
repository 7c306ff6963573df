#include "efi/core/toml.h"

#include "efi/core/toml_scanner.h"

namespace dupengine::efi {
namespace {

constexpr unsigned kDeepest = 20;  // profiles/ refuses values that are nested more than 16 deep

/// The way to a value: "boot/timeout". A copy of it is how a table is left again.
struct Path {
    Text<120> text;
    bool known = true;  ///< false: it cannot be told from another one

    void add(const TomlString& part) {
        if (!text.empty()) text.add('/');
        for (char c : part.view())
            known = known && c != '/';
        text.add(part);
        known = known && !text.cut() && !part.cut() && !part.empty();
    }
    TextView shown() const { return known ? text.view() : TextView(); }
};

class Walk {
  public:
    Walk(TextView text, TomlSink& sink) : scan_(text), sink_(sink) {}

    TextView run() {
        for (scan_.skip_lines(); !scan_.at_end(); scan_.skip_lines()) {
            if (scan_.here() == '[' ? !heading() : !pair(table_, table_arrays_))
                return "the profile is no TOML";
            if (!scan_.end_line()) return "the profile is no TOML: a line goes on behind its value";
        }
        return {};
    }

  private:
    // "a.b", each part bare or in quotes.
    bool key(Path& path) {
        do {
            scan_.skip_blanks();
            const bool quoted = scan_.here() == '"' || scan_.here() == '\'';
            if (quoted ? !scan_.string(string_, false) : !scan_.bare_key(string_)) return false;
            path.add(string_);
            scan_.skip_blanks();
        } while (scan_.take('.'));
        return true;
    }

    // [table] or [[array of tables]]
    bool heading() {
        scan_.pass();
        const bool of_array = scan_.take('[');
        table_ = {};
        if (!key(table_) || !scan_.take(']') || (of_array && !scan_.take(']'))) return false;
        table_arrays_ = of_array ? 1 : 0;
        return true;
    }

    bool pair(Path path, unsigned arrays) {
        if (!key(path) || !scan_.take('=')) return false;
        scan_.skip_blanks();
        return value(path, arrays);
    }

    bool value(const Path& path, unsigned arrays) {
        if (depth_ == kDeepest) return false;
        ++depth_;
        const bool good = any_value(path, arrays);
        --depth_;
        return good;
    }

    bool any_value(const Path& path, unsigned arrays) {
        if (scan_.here() == '[') return array(path, arrays + 1);
        if (scan_.here() == '{') return inline_table(path, arrays);
        TomlValue value;
        if (scan_.here() == '"' || scan_.here() == '\'') {
            if (!scan_.string(string_, true)) return false;
            value.kind = TomlValue::Kind::kString;
            value.text = string_;
            value.cut = string_.cut();
        } else if (!scan_.plain(value)) {
            return false;
        }
        sink_.value(path.shown(), arrays, value);
        return true;
    }

    bool array(const Path& path, unsigned arrays) {
        scan_.pass();
        for (;;) {
            scan_.skip_lines();
            if (scan_.take(']')) return true;
            if (!value(path, arrays)) return false;
            scan_.skip_lines();
            if (!scan_.take(',') && scan_.here() != ']') return false;
        }
    }

    bool inline_table(const Path& path, unsigned arrays) {
        scan_.pass();
        for (;;) {
            scan_.skip_lines();
            if (scan_.take('}')) return true;
            if (!pair(path, arrays)) return false;
            scan_.skip_lines();
            if (!scan_.take(',') && scan_.here() != '}') return false;
        }
    }

    TomlScanner scan_;
    TomlSink& sink_;
    TomlString string_;
    Path table_;
    unsigned table_arrays_ = 0, depth_ = 0;
};

}  // namespace

TextView read_toml(TextView text, TomlSink& sink) {
    if (text.starts_with("\xef\xbb\xbf")) text = text.after(3);
    return Walk(text, sink).run();
}

}  // namespace dupengine::efi
