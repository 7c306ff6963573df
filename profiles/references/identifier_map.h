#pragma once
// Old identifiers and the new ones that take their place, found and replaced in text of any kind. An
// identifier is recognized in either case, plain ("1234-ABCD"), with systemd's escapes ("1234\x2dABCD", as in
// unit names) and in UTF-16 (EFI programs). Old and new have the same length, so every offset in a file stays
// what it was. One pass over the text whatever the number of identifiers; pure; safe from any thread once
// built.

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace dupengine::profiles {

class IdentifierMap {
  public:
    /// Both as people write them: UUID, "1234-ABCD", "deadbeef-01", 32 hexadecimal digits. Throws kInternal
    /// if the lengths differ or are shorter than kShortest; equal ones are ignored.
    void add(const std::string& before, const std::string& after);
    bool empty() const { return patterns_.empty(); }

    struct Hit {
        std::size_t offset, length;
        std::string_view found;   ///< as written there; part of the text that was searched
        std::string replacement;  ///< in the same spelling, of the same length
        std::string identifier;   ///< the old one, as it was added
        bool wide = false;        ///< UTF-16
    };
    /// All of them, ascending, not overlapping.
    std::vector<Hit> find(std::string_view text) const;
    bool touches(std::string_view text) const { return !find(text).empty(); }
    /// `text` with every hit replaced.
    std::string rewrite(std::string_view text) const;

    static constexpr std::size_t kShortest = 8;

  private:
    struct Pattern {
        std::string before, after, identifier;
        bool bounded = false;  // too short or too plain to be believed inside a longer word
        bool wide = false;
    };
    void add_pattern(Pattern pattern);
    void index();
    bool stands_alone(std::string_view text, std::size_t offset, const Pattern& pattern) const;

    std::vector<Pattern> patterns_;
    // Wu and Manber's search: how far the window may jump when it ends in these two bytes, and which patterns
    // have them there.
    std::size_t window_ = 0;
    std::vector<std::uint8_t> jump_;
    std::vector<std::vector<std::uint16_t>> ending_;  // by the low byte of the pair
};

/// Whether people can read it: no NUL byte.
bool is_text(std::string_view content);

}  // namespace dupengine::profiles
