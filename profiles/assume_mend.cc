#include "profiles/assume_mend.h"

#include <algorithm>

#include "base/bytes.h"
#include "codec/digest.h"

namespace dupengine::profiles {
namespace {

std::string digest_at(const Tree& tree, const std::string& path) {
    const Node node = tree.take(path);
    return node.content ? to_hex(codec::sha256(as_bytes(*node.content))) : std::string();
}

void restore(Tree& tree, const std::string& place, const AssumeJournal& journal, const AssumeRecord& record,
             const SavedRename& saved) {
    for (const SavedNode& node : saved.nodes) {
        const std::string path = place + node.path;
        if (node.kind == NodeKind::kFolder) {
            if (!tree.look(path).exists()) tree.put(path, Node::folder(0755));
        } else if (digest_at(tree, path) != node.digest) {
            tree.put(path, Node::file(journal.read_saved(record, node), 0755));
        }
    }
}

void remove_known(Tree& tree, const std::string& place, const SavedRename& saved) {
    for (std::size_t i = saved.nodes.size(); i-- > 0;) {
        const std::string path = place + saved.nodes[i].path;
        const Node there = tree.look(path);
        if (there.exists() && tree.list(path).empty()) tree.put(path, {});
    }
}

// Whether there is nothing in it but copies of what was moved.
bool is_remains(const Tree& tree, const std::string& path, const SavedRename& saved) {
    const auto is_copy = [&](const std::string& digest) {
        return std::any_of(saved.nodes.begin(), saved.nodes.end(), [&](const SavedNode& node) {
            return node.kind == NodeKind::kFile && node.digest == digest;
        });
    };
    if (tree.look(path).kind != NodeKind::kFolder) return is_copy(digest_at(tree, path));
    const auto names = tree.list(path);
    return saved.nodes.front().kind == NodeKind::kFolder &&
           std::all_of(names.begin(), names.end(),
                       [&](const std::string& name) { return is_remains(tree, join(path, name), saved); });
}

void remove_all(Tree& tree, const std::string& path) {
    for (const std::string& name : tree.list(path))
        remove_all(tree, join(path, name));
    tree.put(path, {});
}

bool is_named(const AssumeRecord& record, const std::string& path) {
    return std::any_of(
               record.renames.begin(), record.renames.end(),
               [&](const RenameAction& rename) { return rename.to == path || rename.from == path; }) ||
           std::any_of(record.puts.begin(), record.puts.end(),
                       [&](const PutAction& put) { return is_within(put.path, path); });
}

}  // namespace

void mend_rename(Tree& tree, const AssumeJournal& journal, const AssumeRecord& record,
                 const SavedRename& saved) {
    if (saved.nodes.empty()) return;
    const RenameAction& rename = record.renames.at(saved.rename);
    restore(tree, rename.to, journal, record, saved);
    remove_known(tree, rename.from, saved);
    const std::string folder = parent_of(rename.to);
    for (const std::string& name : tree.list(folder)) {
        const std::string path = join(folder, name);
        const bool is_new =
            std::find(saved.siblings.begin(), saved.siblings.end(), name) == saved.siblings.end();
        if (is_new && !is_named(record, path) && is_remains(tree, path, saved)) remove_all(tree, path);
    }
}

}  // namespace dupengine::profiles
