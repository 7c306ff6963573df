// From blocks to files of XFS: one pass over the inodes finds whose blocks they are, one over the folders
// finds the names. An inode belongs to its file, too: a small folder or a link may have nothing else. Where
// the log holds something that is still to be played, names may be those of a moment ago.

#include "layout/owner_tally.h"
#include "layout/xfs_inodes.h"

namespace dupengine::layout {
namespace {

class XfsFolders final : public Folders {
  public:
    explicit XfsFolders(XfsSearch& search) : search_(search) {}

    void for_each(const std::function<void(std::uint64_t)>& on_folder) override {
        for_each_xfs_inode(search_, [&](const XfsInode& inode) {
            if (inode.is_folder()) on_folder(inode.number);
        });
    }
    void read(std::uint64_t folder, const OnEntry& on_entry) override {
        read_xfs_folder(search_, read_xfs_inode(search_, folder), on_entry);
    }

  private:
    XfsSearch& search_;
};

void tally_structures(const XfsSuper& super, OwnerTally& tally) {
    tally.add_structure("(log)", super.log);
    for (std::uint64_t group = 0; group < super.groups; ++group) {
        const ByteOffset at = group * super.group_blocks * super.block_bytes;
        tally.add_structure("(group headers)", {at, at + 4 * super.sector_bytes});
    }
}

void tally_inodes(XfsSearch& search, OwnerTally& tally) {
    for_each_xfs_inode(search, [&](const XfsInode& inode) {
        if (!inode.in_use) return tally.add_structure("(free inodes)", inode.place);
        tally.add(inode.number, inode.place);
        for (const XfsFork fork : {XfsFork::kContent, XfsFork::kAttributes})
            for_each_xfs_run(search, inode, fork,
                             [&](const XfsRun& run) { tally.add(inode.number, run.place); });
    });
}

}  // namespace

FileOwners xfs_file_owners(const block::Reader& part, const block::ExtentSet& places) {
    XfsSearch search(part);
    OwnerTally tally(places);
    tally_structures(search.super, tally);
    tally_inodes(search, tally);
    XfsFolders folders(search);
    const auto names = find_names(folders, search.root, tally);
    FileOwners owners =
        tally.name(search.root, "inode", [&](std::uint64_t file) -> std::optional<NameInFolder> {
            const auto found = names.find(file);
            if (found == names.end()) return {};
            return found->second;
        });
    if (!search.complete) owners.reason = kNamesMayBeMissing;
    return owners;
}

}  // namespace dupengine::layout
