#pragma once
// From a reference to an image that may be believed: found in its store, its manifest held against its
// signature, its name and version against what was asked for. Nothing is derived from a manifest before that.

#include "image/image_reader.h"
#include "image/signature.h"
#include "image/store.h"
#include "image/streamed_image.h"
#include "image/web_options.h"

namespace dupengine::image {

struct Trust {
    const TrustedKeys* keys = nullptr;  ///< null: any manifest is taken, signed or not
    std::int64_t now = 0;               ///< Unix seconds: what has expired is not taken (without keys it is)
};

struct OpenImage {
    std::unique_ptr<Files> files;
    std::unique_ptr<PackCache> cache;  ///< of what came from a web server; null: none
    std::optional<StoreLock> lock;     ///< of a store in a folder, as long as it is read
    std::string signed_by;             ///< the file of the key; empty: not looked at
    std::unique_ptr<ImageReader> reader;
    StreamFiles* stream = nullptr;  ///< `files`, if they come through a pipe
    std::unique_ptr<StreamedImage> streamed;

    /// To copy it from.
    const block::Reader& disk() const;
    /// When nothing of it is needed any more. What came through a pipe is whole only if its end came: throws
    /// kIntegrity if it does not, kInterrupted.
    void finish() const;
    /// Of a pipe: takes all of it now, and keeps it. Throws as finish().
    void take_whole() const;
    const Manifest& manifest() const { return reader->manifest(); }
};

/// The files of a store: below a folder, in one tar, through standard input, or on a web server. Throws
/// kRefused, kUsage.
std::unique_ptr<Files> open_files(const Reference& reference, const WebOptions& web);
/// So that nothing is taken out of a store in a folder; there is nothing to lock of anything else. Throws
/// kRefused.
std::optional<StoreLock> lock_for_reading(const Reference& reference);

/// Throws kRefused if there is no such image, kAuthenticity if it may not be believed, kIntegrity if it is
/// damaged; for a store on a web server kPeer, too.
OpenImage open_image(const Reference& reference, const Trust& trust, const WebOptions& web = {});

/// The manifest of an image of a store, authenticated as `trust` says. `signed_by` may be null.
Manifest read_manifest(const Files& files, const StoredImage& image, const Trust& trust,
                       std::string* signed_by);

}  // namespace dupengine::image
