#include "cli/source_disks.h"

#include <algorithm>

#include "layout/in_use.h"

namespace dupengine::cli {
namespace {

void refuse_the_same_twice(const std::vector<std::string>& paths) {
    for (std::size_t i = 0; i < paths.size(); ++i)
        for (std::size_t k = 0; k < i; ++k)
            if (layout::same_storage(paths[k], paths[i]))
                throw_error(Code::kUsage, "{} and {} are the same disk", paths[k], paths[i]);
}

}  // namespace

SourceDisks::SourceDisks(const std::vector<std::string>& paths) {
    if (paths.size() > block::kMostRowDisks)
        throw_error(Code::kUnsupported, "{} disks are more than can be duplicated together ({})",
                    paths.size(), block::kMostRowDisks);
    refuse_the_same_twice(paths);
    for (const std::string& path : paths) {
        disks_.push_back(block::open_source(path));
        readers_.push_back(disks_.back().get());
        followed_.push_back({path, readers_.back()->geometry().size_bytes});
    }
    if (disks_.size() == 1) return;
    row_.emplace(readers_);
    for (std::size_t i = 0; i < followed_.size(); ++i) {
        followed_[i].begin = row_->places()[i].begin;
        followed_[i].sector_bytes = readers_[i]->geometry().logical_sector_bytes;
    }
}

std::vector<block::RowPlace> SourceDisks::row() const {
    return row_ ? row_->places() : std::vector<block::RowPlace>();
}

std::vector<std::uint64_t> SourceDisks::sizes() const {
    std::vector<std::uint64_t> sizes;
    for (const machine::FollowedDisk& disk : followed_)
        sizes.push_back(disk.size_bytes);
    return sizes;
}

void SourceDisks::hold() {
    for (std::size_t i = 0; i < disks_.size(); ++i)
        holds_.push_back(std::make_unique<block::SourceHold>(disks_[i]->native_fd(), followed_[i].path));
}

}  // namespace dupengine::cli
