#pragma once
// A TOML 1.0 document as a plain tree in which every key and value knows its line and column. The only place
// that sees the TOML library (toml_tree.cc), so that the schema is written against our own types. Bounded:
// text of at most kTomlLimitBytes, values nested 16 deep, dotted keys 8 deep; more is refused. Pure; safe
// from any thread.

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace dupengine::profiles {

/// The largest TOML text that is looked at: a profile with its files.
inline constexpr std::size_t kTomlLimitBytes = std::size_t{512} * 1024;

struct TomlPosition {
    unsigned line = 1, column = 1;
    auto operator<=>(const TomlPosition&) const = default;  // NOLINT(modernize-use-nullptr): its expansion
};

struct TomlEntry;

struct TomlNode {
    enum class Kind { kTable, kArray, kString, kInteger, kBoolean, kOther };
    Kind kind = Kind::kTable;
    const char* kind_name = "a table";  ///< for messages: "a string", "a floating-point number", ...
    TomlPosition at;
    std::string text;                ///< kString
    std::int64_t integer = 0;        ///< kInteger; kBoolean: 0 or 1
    std::vector<TomlNode> items;     ///< kArray
    std::vector<TomlEntry> entries;  ///< kTable, in the order of the text
};

struct TomlEntry {
    std::string key;
    TomlPosition at;  ///< of the key
    TomlNode value;
};

/// What made a text no TOML.
struct TomlFault {
    TomlPosition at;
    std::string message;
};

/// Parses `text` into `root`. Returns false and fills `fault` if it is not TOML or passes a bound.
bool parse_toml(std::string_view text, TomlNode& root, TomlFault& fault);

}  // namespace dupengine::profiles
