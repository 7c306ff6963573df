#pragma once
// Several trees joined as the copied system will see them: its root, and others mounted at folders of it. A
// path belongs to the deepest mount point above it, whether or not the folder is there in the root.

#include "profiles/system/tree.h"

namespace dupengine::profiles {

class CombinedTree final : public Tree {
  public:
    /// The trees outlive this one.
    explicit CombinedTree(Tree& root) { mounted_.push_back({"/", &root}); }
    /// `path` may lead over links of the trees that are already there.
    void mount(const std::string& path, Tree& tree);

    Node look(const std::string& path) const override;
    Node take(const std::string& path) const override;
    std::vector<std::string> list(const std::string& path) const override;
    void put(const std::string& path, const Node& node) override;
    void rename(const std::string& from, const std::string& to) override;
    bool renames_whole(const std::string& path) const override;
    void sweep(const std::string& folder) override;
    Node as_stored(const std::string& path, const Node& node) const override;
    std::uint64_t free_bytes(const std::string& path) const override;
    /// The mount point that `path` belongs to.
    const std::string& mount_point_of(const std::string& path) const;

  private:
    struct Mounted {
        std::string path;
        Tree* tree;
    };
    struct Place {
        Tree* tree;
        std::string path;  ///< inside that tree
    };
    const Mounted& holder_of(const std::string& path) const;
    Place place_of(const std::string& path) const;
    std::vector<Mounted> mounted_;
};

}  // namespace dupengine::profiles
