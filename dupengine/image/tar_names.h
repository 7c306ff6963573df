#pragma once
// What the tar of one image holds, and in which order (dupengine-formats(5)):
//
//     images/NAME/VERSION.json, .sig     what can be believed, before anything is made of it
//     images/NAME/VERSION.lists, .places all digests, and where in the tar each chunk will be
//     packs/ID.pack ...                  the first packs: what is read to describe the disk, what comes twice
//     store.json                         behind it each chunk comes once, in the order of the disk
//     packs/ID.pack ...
//
// A tar that can be read at any place may have any order. Pure.

#include "image/pack.h"
#include "image/store_index.h"

namespace dupengine::image {

enum class TarPart { kManifest, kSignature, kLists, kPlaces, kPack, kIndex };

struct TarName {
    TarPart part = TarPart::kPack;
    StoredImage image;  ///< whose it is; not of packs and the index
};

/// Throws kIntegrity for a file that is none of an image, or too large for one. `tar` is for the message.
TarName parse_tar_name(const std::string& tar, const std::string& file, std::uint64_t size_bytes);

/// A pack is held in memory while it comes in: full, and a chunk and an index more.
inline constexpr std::uint64_t kLargestPack = 20 * kMiB;

/// "X.tar", unless there is a folder of that name; and "-", standard input or output.
bool is_tar(const std::string& place);
inline constexpr const char* kPipe = "-";

}  // namespace dupengine::image
