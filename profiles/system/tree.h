#pragma once
// The files of a copied system, seen from its own root: "/etc/fstab" is the target's, whatever stands above
// it on this machine. No path and no symlink leads out. A Tree is a mounted folder (dir_tree.h), a FAT file
// system (fat_tree.h), several of them joined (combined_tree.h), changes that are only thought of (staged.h),
// or memory (tests). Paths are absolute and normal: no "." or "..", no "//". Used by one thread at a time.
// Errors: kTargetIo when the medium fails, kRefused when a path is not what it should be.

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace dupengine::profiles {

enum class NodeKind { kAbsent, kFile, kLink, kFolder, kOther };
const char* node_kind_name(NodeKind kind);  ///< "absent", "file", "link", "folder", "other"

/// What stands, or shall stand, at a path. `kOther` (device, socket, pipe) can be seen but not made.
struct Node {
    NodeKind kind = NodeKind::kAbsent;
    unsigned mode = 0;  ///< permission bits, at most 07777
    unsigned uid = 0, gid = 0;
    std::uint64_t size_bytes = 0;                            ///< files
    std::string link_target;                                 ///< links
    std::shared_ptr<const std::string> content;              ///< files; null unless take() gave it
    std::map<std::string, std::string> extended_attributes;  ///< files; only from take()

    static Node file(std::string content, unsigned mode, unsigned uid = 0, unsigned gid = 0);
    static Node link(std::string target);
    static Node folder(unsigned mode, unsigned uid = 0, unsigned gid = 0);
    /// The same owner, mode and attributes with other content.
    Node with_content(std::string text) const;

    bool exists() const { return kind != NodeKind::kAbsent; }
    /// Equal in all that a Tree keeps. A file without content is equal to none.
    bool same_as(const Node& other) const;
};

class Tree {
  public:
    virtual ~Tree() = default;

    /// What stands at `path`; a link in last place is not followed. Without content and extended attributes.
    virtual Node look(const std::string& path) const = 0;
    /// With content and extended attributes. Throws kRefused for a file larger than kFileLimit.
    virtual Node take(const std::string& path) const = 0;
    /// The names in a folder, sorted; none if it is no folder.
    virtual std::vector<std::string> list(const std::string& path) const = 0;

    /// Makes `path` what `node` says (a kAbsent node removes). A file or link is replaced whole: after a cut
    /// the old or the new one is there (FAT: or neither). The parent exists. A folder is made empty, removed
    /// when empty.
    virtual void put(const std::string& path, const Node& node) = 0;
    virtual void rename(const std::string& from, const std::string& to) = 0;
    /// Whether after a cut rename() everything is at the old place or at the new one. On FAT there may be
    /// some at both, or nothing.
    virtual bool renames_whole(const std::string& path) const = 0;
    /// Takes away what a cut put() may have left in this folder.
    virtual void sweep(const std::string& folder) = 0;
    /// How a node will look once it has been put there: FAT knows neither owners nor links (kRefused).
    virtual Node as_stored(const std::string& path, const Node& node) const = 0;
    /// Room for new content in the file system that holds `path`.
    virtual std::uint64_t free_bytes(const std::string& path) const = 0;

    static constexpr std::uint64_t kFileLimit = 512u << 20;
};

/// The content of the file at `path`, links followed inside the tree; empty if there is no file.
std::string read_text(const Tree& tree, const std::string& path);

/// `path` with every link followed inside the tree. `follow_last` false leaves a link in last place alone.
/// Parts that do not exist are kept as they are. Throws kRefused after 40 links.
enum class LastLink { kFollow, kKeep };
std::string resolve(const Tree& tree, const std::string& path, LastLink last = LastLink::kFollow);

/// "/a/b" of "/a", "b". The parent of "/a" is "/".
std::string join(const std::string& folder, std::string_view name);
std::string parent_of(const std::string& path);
std::string leaf_of(const std::string& path);
/// Whether `path` is `folder` or below it.
bool is_within(const std::string& path, const std::string& folder);
/// Throws kRefused unless `path` is absolute and normal.
void require_normal(const std::string& path);

}  // namespace dupengine::profiles
