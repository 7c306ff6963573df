#pragma once
// How an image is named: the store that holds it, and there a name and a version. Pure.

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace dupengine::image {

/// "image:PATH", "image:PATH#NAME", "image:PATH#NAME@VERSION", and the same behind an http:// or https://
/// address. The last '#' counts.
struct Reference {
    std::string place;                     ///< where the store is: a path, or a whole address
    std::optional<std::string> name;       ///< not given: the only one that the store holds
    std::optional<std::uint64_t> version;  ///< not given: the newest
    bool is_web() const;
    /// As it is given on a command line, with what may not be shown.
    std::string endpoint() const;
    std::string text() const;   ///< "image:/srv/images#web@7"; of an address only what may be shown
    std::string shown() const;  ///< the place alone, likewise
    bool operator==(const Reference&) const = default;

  private:
    std::string named() const;
};

/// Empty unless `text` begins with "image:", "http://" or "https://". Throws kUsage for an address, a name or
/// a version that cannot be one.
std::optional<Reference> parse_reference(std::string_view text);

/// As parse_reference, for a store that is written to. Throws kUsage for one on a web server.
std::optional<Reference> parse_writable_reference(std::string_view text);

/// 1 to 64 letters, digits, '-', '_' and '.', the first a letter or a digit. So it is a file name anywhere.
bool is_image_name(std::string_view name);

}  // namespace dupengine::image
