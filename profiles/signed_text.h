#pragma once
// A profile's text with a signature at its end: three lines of comment (dupengine-formats(5)), so that it
// goes wherever the text goes, and says nothing to whoever reads the profile. dupengine.efi checks it. Pure
// but for the key.

#include <string>

#include "image/signature.h"

namespace dupengine::profiles {

/// The text without a signature at its end.
std::string without_signature(const std::string& text);

/// The text, signed with this key instead of whatever it was signed with. Throws kUsage if that is more than
/// a store holds.
std::string with_signature(const std::string& text, const image::SigningKey& key, const std::string& file);

}  // namespace dupengine::profiles
