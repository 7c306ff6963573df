#include "profiles/system/combined_tree.h"

#include <algorithm>

#include "base/error.h"

namespace dupengine::profiles {

void CombinedTree::mount(const std::string& path, Tree& tree) {
    mounted_.push_back({resolve(*this, path), &tree});
}

const CombinedTree::Mounted& CombinedTree::holder_of(const std::string& path) const {
    const Mounted* deepest = &mounted_.front();
    for (const Mounted& candidate : mounted_)
        if (is_within(path, candidate.path) && candidate.path.size() >= deepest->path.size())
            deepest = &candidate;
    return *deepest;
}

CombinedTree::Place CombinedTree::place_of(const std::string& path) const {
    const Mounted& holder = holder_of(path);
    if (holder.path == "/") return {holder.tree, path};
    const std::string rest = path.substr(holder.path.size());
    return {holder.tree, rest.empty() ? "/" : rest};
}

const std::string& CombinedTree::mount_point_of(const std::string& path) const {
    return holder_of(path).path;
}

Node CombinedTree::look(const std::string& path) const {
    const Place place = place_of(path);
    return place.tree->look(place.path);
}

Node CombinedTree::take(const std::string& path) const {
    const Place place = place_of(path);
    return place.tree->take(place.path);
}

std::vector<std::string> CombinedTree::list(const std::string& path) const {
    const Place place = place_of(path);
    std::vector<std::string> names = place.tree->list(place.path);
    // A mount point that has no folder of its own in the tree below.
    for (const Mounted& mounted : mounted_)
        if (mounted.path != "/" && parent_of(mounted.path) == path &&
            std::find(names.begin(), names.end(), leaf_of(mounted.path)) == names.end())
            names.push_back(leaf_of(mounted.path));
    std::sort(names.begin(), names.end());
    return names;
}

void CombinedTree::put(const std::string& path, const Node& node) {
    const Place place = place_of(path);
    if (place.path == "/") throw_error(Code::kRefused, "{}: a mount point cannot be replaced", path);
    place.tree->put(place.path, node);
}

void CombinedTree::rename(const std::string& from, const std::string& to) {
    const Place old_place = place_of(from), new_place = place_of(to);
    if (old_place.tree != new_place.tree || old_place.path == "/" || new_place.path == "/")
        throw_error(Code::kRefused, "{}: cannot be renamed to {} in another file system", from, to);
    old_place.tree->rename(old_place.path, new_place.path);
}

bool CombinedTree::renames_whole(const std::string& path) const {
    const Place place = place_of(path);
    return place.tree->renames_whole(place.path);
}

void CombinedTree::sweep(const std::string& folder) {
    const Place place = place_of(folder);
    place.tree->sweep(place.path);
}

Node CombinedTree::as_stored(const std::string& path, const Node& node) const {
    const Place place = place_of(path);
    return place.tree->as_stored(place.path, node);
}

std::uint64_t CombinedTree::free_bytes(const std::string& path) const {
    const Place place = place_of(path);
    return place.tree->free_bytes(place.path);
}

}  // namespace dupengine::profiles
