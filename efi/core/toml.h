#pragma once
// Walks through a TOML 1.0 text and tells each value with its key, without a heap: what firmware wants of a
// profile are a few keys of it, and all others have to be understood well enough to be passed over. The text
// of a slot was accepted by profiles/ before it was stored; every text that profiles/ accepts is read here in
// the same way (a fuzz target holds the two against each other), but not every text that is refused there is
// refused here.

#include "efi/core/text.h"

namespace dupengine::efi {

struct TomlValue {
    enum class Kind { kString, kInteger, kBoolean, kOther };
    Kind kind = Kind::kOther;
    TextView text;             ///< kString; only as long as the call
    bool cut = false;          ///< the string is longer than that
    std::int64_t integer = 0;  ///< kInteger; kBoolean: 0 or 1
};

class TomlSink {
  public:
    /// `key` is the way to the value, "boot/timeout"; `arrays`: how many arrays it stands in. A key that has
    /// a '/' of its own, or is too long, is told as an empty one.
    virtual void value(TextView key, unsigned arrays, const TomlValue& value) = 0;

  protected:
    ~TomlSink() = default;
};

/// The longest string that is told whole.
inline constexpr std::size_t kTomlStringLimit = 4096;

/// Returns nothing, or why the text is no TOML; then some values have been told already.
TextView read_toml(TextView text, TomlSink& sink);

}  // namespace dupengine::efi
