#include "cli/copy_source.h"

namespace dupengine::cli {

CopySource::CopySource(const std::string& endpoint, const ImageTrustOptions& trust) : path_(endpoint) {
    if (const auto reference = image::parse_reference(endpoint)) {
        image_.emplace(open_trusted_image(*reference, trust));
        return;
    }
    disk_ = block::open_source(endpoint);
    held_.emplace(endpoint);
}

void CopySource::take_alone() {
    if (!held_) return;
    held_->take_alone();
    writes_ = layout::writes_until_now(path_);
}

bool CopySource::has_changed() const {
    return held_ && (held_->has_changed() || layout::writes_until_now(path_).text != writes_.text);
}

bool CopySource::could_change_unseen() const {
    return held_ && disk_->geometry().is_block_device && !held_->is_alone() &&
           !layout::writes_until_now(path_).all;
}

}  // namespace dupengine::cli
