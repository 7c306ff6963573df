#include "profiles/system/staged.h"

#include <algorithm>

#include "base/error.h"

namespace dupengine::profiles {
namespace {

std::string moved(const std::string& path, const std::string& from, const std::string& to) {
    return to + path.substr(from.size());
}

// The label that says who may read a file belongs to its place, and this machine may not be able to take it
// off.
Node with_label_of(const Node& there, const Node& node) {
    constexpr const char* kLabel = "security.selinux";
    Node labeled = node;
    const auto label = there.extended_attributes.find(kLabel);
    if (node.kind == NodeKind::kFile && label != there.extended_attributes.end())
        labeled.extended_attributes.emplace(kLabel, label->second);
    return labeled;
}

}  // namespace

std::optional<std::string> Staged::base_path(const std::string& path) const {
    std::string place = path;
    for (std::size_t i = renames_.size(); i-- > 0;) {
        const RenameAction& rename = renames_[i];
        if (is_within(place, rename.to))
            place = moved(place, rename.to, rename.from);
        else if (is_within(place, rename.from))
            return std::nullopt;
    }
    return place;
}

Node Staged::look(const std::string& path) const {
    const auto put = puts_.find(path);
    if (put != puts_.end()) return put->second.after;
    const auto place = base_path(path);
    return place ? base_.look(*place) : Node{};
}

Node Staged::take(const std::string& path) const {
    const auto put = puts_.find(path);
    if (put != puts_.end()) return put->second.after;
    const auto place = base_path(path);
    return place ? base_.take(*place) : Node{};
}

std::vector<std::string> Staged::list(const std::string& path) const {
    std::vector<std::string> names;
    if (const auto place = base_path(path)) names = base_.list(*place);
    for (const RenameAction& rename : renames_) {
        if (parent_of(rename.from) == path) std::erase(names, leaf_of(rename.from));
        if (parent_of(rename.to) == path) names.push_back(leaf_of(rename.to));
    }
    for (const auto& [key, put] : puts_) {
        if (parent_of(key) != path) continue;
        std::erase(names, leaf_of(key));
        if (put.after.exists()) names.push_back(leaf_of(key));
    }
    std::sort(names.begin(), names.end());
    return names;
}

void Staged::put(const std::string& path, const Node& node) {
    const Node before = take(path);
    const auto found = puts_.find(path);
    const Node after = node.exists() ? as_stored(path, node) : node;
    if (found != puts_.end())
        found->second.after = after;
    else
        puts_[path] = {path, before, after};
}

void Staged::rename(const std::string& from, const std::string& to) {
    if (!puts_.empty()) throw_error(Code::kInternal, "{}: renamed after other changes were planned", from);
    if (look(to).exists())
        throw_error(Code::kRefused, "{}: would be renamed to {}, which exists already", from, to);
    renames_.push_back({from, to});
}

void Staged::make_folders(const std::string& item, const std::string& path) {
    const Node there = look(path);
    if (there.kind == NodeKind::kFolder) return;
    if (there.exists())
        throw_error(Code::kRefused, "{}: is a {}, where {} needs a folder", path, node_kind_name(there.kind),
                    item);
    make_folders(item, parent_of(path));
    put(path, Node::folder(0755));
}

void Staged::change(const std::string& item, const std::string& path, const Node& node,
                    const std::string& before, const std::string& after) {
    require_normal(path);
    const bool follow = node.kind == NodeKind::kFile;
    const std::string place = resolve(*this, path, follow ? LastLink::kFollow : LastLink::kKeep);
    const Node there = take(place);
    const Node labeled = with_label_of(there, node);
    if (node.exists() ? there.same_as(as_stored(place, labeled)) : !there.exists()) return;
    if (there.kind == NodeKind::kOther || (there.kind == NodeKind::kFolder && node.kind != NodeKind::kFolder))
        throw_error(Code::kRefused, "{}: is a {}, which {} would replace; take it away first", place,
                    there.kind == NodeKind::kFolder ? "folder" : "special file", item);
    make_folders(item, parent_of(place));
    put(place, labeled);
    note({item, place, before, after});
}

std::vector<PutAction> Staged::puts() const {
    std::vector<PutAction> all;
    for (const auto& [path, put] : puts_)
        if (!put.before.same_as(put.after)) all.push_back(put);
    return all;
}

}  // namespace dupengine::profiles
