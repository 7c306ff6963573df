#pragma once
// What a copy reads from: a disk or a raw image file of this machine, or an image in a store.

#include <memory>
#include <string>

#include "block/open.h"
#include "cli/image_options.h"

namespace dupengine::cli {

class CopySource {
  public:
    /// Throws what opening throws.
    CopySource(const std::string& endpoint, const ImageTrustOptions& trust);

    const block::Reader& reader() const { return image_ ? *image_->reader : *disk_; }
    /// Null unless it is an image.
    const image::OpenImage* image() const { return image_ ? &*image_ : nullptr; }
    /// Its path, for questions about a disk of this machine; empty for an image.
    std::string local_path() const { return held_ ? path_ : ""; }
    /// As SourceHold; an image cannot change.
    void take_alone();
    bool has_changed() const { return held_ && held_->has_changed(); }

  private:
    std::string path_;
    std::optional<image::OpenImage> image_;
    std::unique_ptr<block::Reader> disk_;
    std::optional<block::SourceHold> held_;
};

}  // namespace dupengine::cli
