#pragma once
// A copied system that somebody has mounted at a folder. Its files can be changed; the identifiers of its
// disk cannot.

#include "profiles/system/dir_tree.h"
#include "profiles/system/system.h"

namespace dupengine::profiles {

class FolderSystem final : public System {
  public:
    /// Throws kRefused if it is no folder, or the root of the running system.
    explicit FolderSystem(const std::string& path);

    const std::string& name() const override { return name_; }
    Tree& root() override { return tree_; }
    Tree& tree() override { return tree_; }
    std::string file_system_of(const std::string& path) override;
    std::vector<std::string> boot_folders() override { return {"/boot", "/efi"}; }
    std::vector<MountPoint> mounts() override { return {}; }
    void choose_mounts(std::vector<MountPoint>) override {}
    const std::vector<Unsearchable>& unsearchable() const override { return nothing_; }
    const std::vector<Identifier>& identifiers() const override { return none_; }
    bool reaches_storage() const override { return false; }
    std::vector<PartitionId> partitions() const override { return {}; }
    std::vector<std::string> disk_names() const override { return {}; }
    void choose_order(const std::vector<std::size_t>&) override {}
    void open_for_writing(const std::vector<IdentifierChange>&) override;
    void set_identifiers(const std::vector<IdentifierChange>&) override {}
    void close() override;

  private:
    std::string name_;
    DirTree tree_;
    std::vector<Identifier> none_;
    std::vector<Unsearchable> nothing_;
};

}  // namespace dupengine::profiles
