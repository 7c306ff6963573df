#pragma once
// Private to toml.cc: the characters of a TOML text, and its strings and numbers.

#include "efi/core/toml.h"

namespace dupengine::efi {

using TomlString = Text<kTomlStringLimit>;

class TomlScanner {
  public:
    explicit TomlScanner(TextView text) : text_(text) {}

    bool at_end() const { return at_ >= text_.size(); }
    /// The character here, or 0 at the end.
    char here(std::size_t ahead = 0) const { return at_ + ahead < text_.size() ? text_[at_ + ahead] : '\0'; }
    void pass(std::size_t count = 1) { at_ += count; }
    /// Passes `c` if it is here.
    bool take(char c);

    /// Blanks and tabs.
    void skip_blanks();
    /// Those, newlines and comments.
    void skip_lines();
    /// Nothing but blanks and a comment may follow on this line.
    bool end_line();

    /// A string in quotes; `multi_line`: three of them are allowed. False: it does not end, or has a wrong
    /// escape.
    bool string(TomlString& into, bool multi_line);
    /// A word of letters, digits, '-' and '_'.
    bool bare_key(TomlString& into);
    /// A number, a boolean, a date: anything without quotes.
    bool plain(TomlValue& into);

  private:
    bool triple(char quote) const { return here() == quote && here(1) == quote && here(2) == quote; }
    bool escape(TomlString& into, bool multi_line);
    bool code_point(unsigned digits, TomlString& into);
    void pass_newline();

    TextView text_;
    std::size_t at_ = 0;
};

}  // namespace dupengine::efi
