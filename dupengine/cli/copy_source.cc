#include "cli/copy_source.h"

#include "engine/refusals.h"
#include "image/foreign/foreign_disk.h"
#include "layout/content_state.h"

namespace dupengine::cli {

CopySource::CopySource(const std::string& endpoint, const ImageTrustOptions& trust, const PeerOptions& peers)
    : path_(endpoint) {
    if (const auto peer = wire::parse_peer_reference(endpoint)) {
        if (trust.any_given())
            throw_error(
                Code::kUsage,
                "{}: the machine that serves an image checks its signature, and --trust and --insecure "
                "are said there; to check it here, copy the image itself",
                endpoint);
        remote_ = RemoteSource::connect(*peer, peers);
        return;
    }
    if (const auto reference = image::parse_reference(endpoint)) {
        image_.emplace(open_trusted_image(*reference, trust));
        return;
    }
    disk_ = block::open_source(endpoint);
    held_.emplace(disk_->native_fd(), endpoint);
    image::ForeignDisk foreign = image::open_foreign({disk_->native_fd(), endpoint}, trust.format);
    if (!foreign.reader) return;
    disk_ = std::move(foreign.reader);
    stop_foreign_ = std::move(foreign.set_stop);
    notes_.push_back(std::move(foreign.note));
}

const block::Reader& CopySource::reader() const {
    if (remote_) return remote_->disk(disk_of_remote_);
    return image_ ? image_->disk() : *disk_;
}

std::string CopySource::change() const {
    if (remote_) return remote_->change();
    if (!held_) return "";
    if (held_->has_changed() || layout::writes_until_now(path_).text != writes_.text) return "was written";
    const std::string uses = engine::name_changing_uses(path_);
    return uses.empty() ? "" : "came into use (" + uses + ")";
}

std::string CopySource::state() const {
    if (remote_) return remote_->state();
    return held_ ? layout::content_state(path_) : "";
}

void CopySource::take_alone() {
    if (!held_) return;
    held_->take_alone();
    writes_ = layout::writes_until_now(path_);
}

bool CopySource::could_change_unseen() const {
    if (remote_) return remote_->could_change_unseen();
    return held_ && disk_->geometry().is_block_device && !held_->is_alone() &&
           !layout::writes_until_now(path_).all;
}

}  // namespace dupengine::cli
