#pragma once
// What became of the image that was put on a disk last, noted in the history on its profile partition
// (image_history.h): whether its starts are counted, whether it came up. A machine whose new version did not
// goes back to the one that did. Nothing is noted on a disk without a history, with an empty one, or with one
// that cannot be told for certain.

#include <optional>
#include <string>

#include "profiles/image_history.h"

namespace dupengine::profiles {

/// The history of a disk. Empty if it has no profile partition, or that has no room for one.
std::optional<ImageHistory> history_on(const std::string& disk);
/// The image that was put on a disk last; empty if it cannot be told.
std::optional<ImageHistory::Entry> last_image(const std::string& disk);

/// Each returns the image that it is about, if something was noted. The disk may be in use, but not open for
/// writing. Throw as write_profile_partition() and write_history().
std::optional<ImageHistory::Entry> note_tried(const std::string& disk);
std::optional<ImageHistory::Entry> note_came_up(const std::string& disk);
std::optional<ImageHistory::Entry> note_failed(const std::string& disk);

}  // namespace dupengine::profiles
