#pragma once
// From a reference to an image that may be believed: found in its store, its manifest held against its
// signature, its name and version against what was asked for. Nothing is derived from a manifest before that.

#include "image/image_reader.h"
#include "image/signature.h"
#include "image/store.h"
#include "image/streamed_image.h"

namespace dupengine::image {

struct Trust {
    const TrustedKeys* keys = nullptr;  ///< null: any manifest is taken, signed or not
    std::int64_t now = 0;               ///< Unix seconds: what has expired is not taken (without keys it is)
};

struct OpenImage {
    std::unique_ptr<Files> files;
    std::optional<StoreLock> lock;  ///< of a store in a folder, as long as it is read
    std::string signed_by;          ///< the file of the key; empty: not looked at
    std::unique_ptr<ImageReader> reader;
    StreamFiles* stream = nullptr;  ///< `files`, if they come through a pipe
    std::unique_ptr<StreamedImage> streamed;

    /// To copy it from.
    const block::Reader& disk() const;
    /// When nothing of it is needed any more.
    void finish() const;
    const Manifest& manifest() const { return reader->manifest(); }
};

/// Where the files of a store are: a folder, one tar, or one that comes through standard input.
std::unique_ptr<Files> open_files(const std::string& place);

/// Of a store in a folder; there is nothing to lock of anything else. Throws kRefused.
std::optional<StoreLock> lock_for_reading(const std::string& place);

/// Throws kRefused if there is no such image, kAuthenticity if it may not be believed, kIntegrity if it is
/// damaged.
OpenImage open_image(const Reference& reference, const Trust& trust);

/// The manifest of an image of a store, authenticated as `trust` says. `signed_by` may be null.
Manifest read_manifest(const Files& files, const StoredImage& image, const Trust& trust,
                       std::string* signed_by);

}  // namespace dupengine::image
