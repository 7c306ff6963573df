#pragma once
// What a copy reads from: a disk or a raw image file of this machine, or an image in a store.

#include <memory>
#include <string>

#include "block/open.h"
#include "cli/image_options.h"
#include "layout/write_watch.h"

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
    /// As SourceHold, and from here on writes to it are watched; an image cannot change.
    void take_alone();
    /// Since take_alone.
    bool has_changed() const;
    /// Somebody may have it open for writing. Asked when it was read: then transfers have been counted.
    bool could_change_unseen() const;

  private:
    std::string path_;
    std::optional<image::OpenImage> image_;
    std::unique_ptr<block::Reader> disk_;
    std::optional<block::SourceHold> held_;
    layout::WritesSeen writes_;  // before it was read
};

}  // namespace dupengine::cli
