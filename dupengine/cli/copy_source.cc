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
    if (held_) held_->take_alone();
}

}  // namespace dupengine::cli
