#pragma once
// What the profile on a target says of an image: whether it is for this machine, and whether the machine had
// this or a newer version. All is asked before the first write, of images that a trusted key vouches for.

#include <optional>
#include <string>

#include "block/device.h"
#include "image/manifest.h"

namespace dupengine::cli {

/// Throws kRefused if the image is for machines with a certain role, and the profile on the target does not
/// name it, or there is no profile that could.
void refuse_other_class(const image::Manifest& manifest, const block::Reader& target);

/// Throws kRefused if the target remembers a newer version of the image of this name that it had, or may have
/// remembered one; but a machine whose newer version did not come up may go back to the one that did. A
/// target without a profile partition remembers nothing. Returns a note for people if a profile partition has
/// no room; else empty.
std::string refuse_older_version(const image::Manifest& manifest, const block::Reader& target);

/// If this version did not come up on the disk: the one that did. Throws kPeer if none did.
std::optional<std::uint64_t> way_back_from(const image::Manifest& manifest, const std::string& disk);

/// Whether this very version is what the target remembers as the image that was put there last, without a
/// doubt, and the disk has a partition table and is no unfinished copy. What was done to it since is not
/// looked at.
bool has_version(const image::Manifest& manifest, const block::Reader& target);

/// After a copy: from now on older versions are refused, if the target has a profile partition with room.
/// `disk` is not open for writing.
void remember_version(const image::Manifest& manifest, const std::string& disk, std::int64_t now);

}  // namespace dupengine::cli
