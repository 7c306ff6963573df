#include "profiles/system/tree.h"

#include <deque>

#include "base/error.h"

namespace dupengine::profiles {

const char* node_kind_name(NodeKind kind) {
    switch (kind) {
        case NodeKind::kAbsent:
            return "absent";
        case NodeKind::kFile:
            return "file";
        case NodeKind::kLink:
            return "link";
        case NodeKind::kFolder:
            return "folder";
        case NodeKind::kOther:
            return "other";
    }
    return "other";
}

Node Node::file(std::string content, unsigned mode, unsigned uid, unsigned gid) {
    Node node;
    node.kind = NodeKind::kFile;
    node.mode = mode;
    node.uid = uid;
    node.gid = gid;
    return node.with_content(std::move(content));
}

Node Node::link(std::string target) {
    Node node;
    node.kind = NodeKind::kLink;
    node.link_target = std::move(target);
    return node;
}

Node Node::folder(unsigned mode, unsigned uid, unsigned gid) {
    Node node;
    node.kind = NodeKind::kFolder;
    node.mode = mode;
    node.uid = uid;
    node.gid = gid;
    return node;
}

Node Node::with_content(std::string text) const {
    Node node = *this;
    node.size_bytes = text.size();
    node.content = std::make_shared<const std::string>(std::move(text));
    return node;
}

bool Node::same_as(const Node& other) const {
    if (kind != other.kind) return false;
    if (kind == NodeKind::kAbsent) return true;
    if (kind == NodeKind::kLink) return link_target == other.link_target;
    if (mode != other.mode || uid != other.uid || gid != other.gid) return false;
    if (kind == NodeKind::kFolder) return true;
    return content && other.content && *content == *other.content &&
           extended_attributes == other.extended_attributes;
}

std::string read_text(const Tree& tree, const std::string& path) {
    const Node node = tree.take(resolve(tree, path));
    return node.kind == NodeKind::kFile ? *node.content : std::string();
}

namespace {

std::deque<std::string> split(const std::string& path) {
    std::deque<std::string> parts;
    for (std::size_t begin = 0; begin < path.size();) {
        const std::size_t end = std::min(path.find('/', begin), path.size());
        if (end > begin) parts.push_back(path.substr(begin, end - begin));
        begin = end + 1;
    }
    return parts;
}

}  // namespace

std::string resolve(const Tree& tree, const std::string& path, LastLink last) {
    constexpr int kLinkLimit = 40;  // as the kernel's own (path_resolution(7))
    std::deque<std::string> ahead = split(path);
    std::string behind = "/";
    for (int links = 0; !ahead.empty();) {
        const std::string part = ahead.front();
        ahead.pop_front();
        if (part == ".") continue;
        if (part == "..") {
            behind = parent_of(behind);
            continue;
        }
        const std::string here = join(behind, part);
        const Node node = ahead.empty() && last == LastLink::kKeep ? Node{} : tree.look(here);
        if (node.kind != NodeKind::kLink) {
            behind = here;
            continue;
        }
        if (++links > kLinkLimit)
            throw_error(Code::kRefused, "{}: more than {} symlinks on the way", path, kLinkLimit);
        if (node.link_target.rfind('/', 0) == 0) behind = "/";
        const std::deque<std::string> target = split(node.link_target);
        ahead.insert(ahead.begin(), target.begin(), target.end());
    }
    return behind;
}

std::string join(const std::string& folder, std::string_view name) {
    return folder == "/" ? "/" + std::string(name) : folder + "/" + std::string(name);
}

std::string parent_of(const std::string& path) {
    const std::size_t slash = path.rfind('/');
    return slash == 0 || slash == std::string::npos ? "/" : path.substr(0, slash);
}

std::string leaf_of(const std::string& path) {
    return path.substr(path.rfind('/') + 1);
}

bool is_within(const std::string& path, const std::string& folder) {
    return folder == "/" || path == folder || path.rfind(folder + "/", 0) == 0;
}

void require_normal(const std::string& path) {
    bool normal = !path.empty() && path.front() == '/' && path.find('\0') == std::string::npos;
    std::string again;
    for (const std::string& part : split(path)) {
        again += "/" + part;
        normal = normal && part != "." && part != "..";
    }
    if (!normal || (path != "/" && again != path))
        throw_error(Code::kRefused, "'{}' is not an absolute path without '.', '..' and '//'", path);
}

}  // namespace dupengine::profiles
