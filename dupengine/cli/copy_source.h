#pragma once
// What a copy reads from: a disk or an image file of this machine, an image in a store, in a tar or from a
// pipe, or a disk at another machine.

#include <functional>
#include <memory>
#include <string>

#include "block/open.h"
#include "cli/image_options.h"
#include "cli/remote_source.h"
#include "layout/write_watch.h"

namespace dupengine::cli {

class CopySource {
  public:
    /// Throws what opening throws.
    CopySource(const std::string& endpoint, const ImageTrustOptions& trust, const PeerOptions& peers = {});
    /// One of its disks.
    explicit CopySource(std::shared_ptr<RemoteSource> remote, std::size_t disk = 0)
        : remote_(std::move(remote)), disk_of_remote_(disk) {}

    const block::Reader& reader() const;
    /// Null unless it is at another machine.
    RemoteSource* remote() const { return remote_.get(); }
    /// In use at another machine, and offered all the same. Of this machine it is refused before.
    bool is_busy_elsewhere() const { return remote_ && remote_->is_busy(); }
    /// In use at another machine, and followed (machine/hot_disk.h).
    bool is_hot() const { return remote_ && remote_->is_hot(); }
    /// Of one that is followed.
    block::Changes next_round(Progress& progress) const {
        return remote_->next_round(disk_of_remote_, progress);
    }
    /// Null unless it is an image.
    const image::OpenImage* image() const { return image_ ? &*image_ : nullptr; }
    /// For the plan: how it is read, where that is not plain.
    const std::vector<std::string>& notes() const { return notes_; }
    /// It comes through a pipe, and what is read out of its order has to be kept.
    bool is_pipe() const { return image_ && image_->stream != nullptr; }
    /// Asked to stop, it waits neither for a pipe nor for a web server nor for qemu-nbd any more. For a
    /// reader that is used from here on.
    void set_stop(const std::stop_token& stop) const {
        if (image_) image_->files->set_stop(stop);
        if (stop_foreign_) stop_foreign_(stop);
    }
    /// When all that is wanted of it was read, and before that is called right. Throws as OpenImage::finish.
    void finish() const {
        if (image_) image_->finish();
    }
    /// For one that is read for others: what comes through a pipe is taken to its end first. Throws so, too.
    void take_whole() const {
        if (image_) image_->take_whole();
    }
    /// Its path, for questions about a disk of this machine; empty for any other.
    std::string local_path() const { return held_ ? path_ : ""; }
    /// As SourceHold, and from here on writes to it are watched; an image cannot change, and the other
    /// machine holds its own.
    void take_alone();
    /// How it changed since then, or is about to ("came into use (mounted on /mnt)"); empty if it did not.
    std::string change() const;
    /// Somebody may have it open for writing. Asked when it was read: then transfers have been counted.
    bool could_change_unseen() const;
    /// As layout::content_state.
    std::string state() const;

  private:
    std::string path_;
    std::optional<image::OpenImage> image_;
    std::unique_ptr<block::Reader> disk_;
    std::function<void(std::stop_token)> stop_foreign_;
    std::vector<std::string> notes_;
    std::optional<block::SourceHold> held_;
    layout::WritesSeen writes_;  // before it was read
    std::shared_ptr<RemoteSource> remote_;
    std::size_t disk_of_remote_ = 0;
};

}  // namespace dupengine::cli
