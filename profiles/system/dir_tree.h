#pragma once
// A folder of this machine (or a file system that is mounted nowhere, known by a descriptor) as a Tree. Every
// path is resolved by the kernel with that folder as its root (openat2(2), RESOLVE_IN_ROOT), so an absolute
// symlink or any number of ".." inside the copied system never reaches this machine's own files.
//
// Of FAT that the kernel has mounted, a node is what it is in a FatTree: the mode that a mount shows says
// nothing about the file, and a journal that one of them begins can be finished by the other.

#include "base/fd.h"
#include "profiles/system/tree.h"

namespace dupengine::profiles {

/// Under which put() makes what then takes its place; a cut may leave it (sweep).
inline constexpr const char* kTemporaryName = ".dupengine-assume.tmp";

class DirTree final : public Tree {
  public:
    enum class Keeps { kEverything, kContent };  ///< kContent: FAT; no owners, modes, links, whole renames
    /// `folder` is open on a directory; `name` is what messages call it.
    DirTree(Fd folder, std::string name, Keeps keeps = Keeps::kEverything);
    /// Throws kRefused if it is no folder.
    static DirTree open(const std::string& path);

    Node look(const std::string& path) const override;
    Node take(const std::string& path) const override;
    std::vector<std::string> list(const std::string& path) const override;
    void put(const std::string& path, const Node& node) override;
    void rename(const std::string& from, const std::string& to) override;
    bool renames_whole(const std::string&) const override { return keeps_ == Keeps::kEverything; }
    void sweep(const std::string& folder) override;
    Node as_stored(const std::string& path, const Node& node) const override;
    std::uint64_t free_bytes(const std::string& path) const override;

    /// The file system that holds `path`, or would hold it: what is mounted below the folder is another one.
    std::uint64_t device_of(const std::string& path) const;

    int fd() const { return folder_.get(); }

  private:
    /// An O_PATH descriptor on the folder that holds `path`; not valid if there is none.
    Fd open_parent(const std::string& path) const;
    Fd open_existing_parent(const std::string& path) const;  ///< throws kRefused if there is none
    Fd open_file(const std::string& path) const;
    Fd open_nearest(const std::string& path) const;  ///< `path` or what there is above it
    void set_attributes(const Fd& file, const std::string& path, const Node& node);
    void put_file(const Fd& parent, const std::string& path, const Node& node);
    void put_link(const Fd& parent, const std::string& path, const Node& node);
    void put_folder(const Fd& parent, const std::string& path, const Node& node);
    void remove(const Fd& parent, const std::string& path);
    void replace(const Fd& parent, const std::string& path);
    std::string full(const std::string& path) const { return name_ + path; }

    Fd folder_;
    std::string name_;
    Keeps keeps_;
};

}  // namespace dupengine::profiles
