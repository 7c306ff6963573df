#pragma once
// A FAT file system (an EFI system partition) as a Tree, through mtools: it needs no vfat in this machine's
// kernel, and it is given a device that ends where the partition ends. Names are UTF-8 and compare without
// case in ASCII; what look() says of a file's size is rounded up to clusters; owners and modes are constants;
// there are no links. A cut put() may leave neither the old nor the new file: who writes keeps a journal
// (assume/journal.h).

#include <map>

#include "profiles/system/tree.h"

namespace dupengine::profiles {

/// How FAT keeps a node, whoever writes it. Throws kRefused for a link; `where` is for the message.
Node as_stored_on_fat(const Node& node, const std::string& where);

class FatTree final : public Tree {
  public:
    /// `device` holds the file system and nothing else. Throws kIntegrity if mtools cannot read it.
    FatTree(std::string device, std::string name);

    Node look(const std::string& path) const override;
    Node take(const std::string& path) const override;
    std::vector<std::string> list(const std::string& path) const override;
    void put(const std::string& path, const Node& node) override;
    void rename(const std::string& from, const std::string& to) override;
    bool renames_whole(const std::string&) const override { return false; }
    /// Nothing of put() here; of one that a mounted FAT was cut in (dir_tree.h).
    void sweep(const std::string& folder) override;
    Node as_stored(const std::string& path, const Node& node) const override;
    std::uint64_t free_bytes(const std::string& path) const override;

    /// Whether fsck.fat finds it in order.
    static bool is_in_order(const std::string& device);
    /// Lets fsck.fat put right what a cut may leave (lost clusters, ...). Throws kIntegrity if it cannot.
    static void repair(const std::string& device, const std::string& name);

  private:
    struct Entry {
        std::string path;  ///< as it is spelled there
        NodeKind kind;
        std::uint64_t size_bytes = 0;
    };
    void read_index();
    void read_sizes();
    const Entry* find(const std::string& path) const;
    static std::string existing(const std::string& path);  ///< "::/EFI/BOOT", as a pattern for just that
    static std::string fresh(const std::string& path);  ///< as a name; throws kRefused if FAT has none such
    std::string run(const std::vector<std::string>& words) const;  ///< mtools' NAME -i DEVICE ...
    void change(const std::vector<std::string>& words) const;      ///< run, then flush the device
    void put_file(const std::string& path, const std::string& content);

    std::string device_, name_;
    std::map<std::string, Entry> entries_;  // by lower-case path
};

}  // namespace dupengine::profiles
