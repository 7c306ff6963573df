// From blocks to files of ext2, ext3 and ext4: one pass over the inodes finds whose blocks they are, one over
// the directories finds the names.

#include "layout/ext_filesystem.h"
#include "layout/ext_super.h"
#include "layout/owner_tally.h"

namespace dupengine::layout {
namespace {

using block::Extent;

class ExtFolders final : public Folders {
  public:
    explicit ExtFolders(const ExtFilesystem& filesystem) : filesystem_(filesystem) {}

    void add(ext2_ino_t folder) { folders_.push_back(folder); }

    void for_each(const std::function<void(std::uint64_t)>& on_folder) override {
        for (const ext2_ino_t folder : folders_)
            on_folder(folder);
    }

    void read(std::uint64_t folder, const OnEntry& on_entry) override {
        // What cannot be read has no names.
        OnEntry callback = on_entry;
        ext2fs_dir_iterate2(filesystem_.get(), static_cast<ext2_ino_t>(folder), 0, nullptr, &on_raw_entry,
                            &callback);
    }

  private:
    static int on_raw_entry(ext2_ino_t, int, ext2_dir_entry* raw, int, int, char*, void* callback) {
        const std::string_view name(raw->name, static_cast<std::size_t>(ext2fs_dirent_name_len(raw)));
        if (raw->inode == 0 || name == ".") return 0;
        return (*static_cast<const OnEntry*>(callback))(raw->inode, name) ? 0 : DIRENT_ABORT;
    }

    const ExtFilesystem& filesystem_;
    std::vector<ext2_ino_t> folders_;
};

class Search {
  public:
    Search(const ExtFilesystem& filesystem, const ExtSuper& super, const block::ExtentSet& places)
        : filesystem_(filesystem),
          block_bytes_(super.geometry.block_bytes),
          folders_(filesystem),
          tally_(places) {}

    FileOwners run() {
        scan_inodes();
        const auto names = find_names(folders_, EXT2_ROOT_INO, tally_);
        return tally_.name(EXT2_ROOT_INO, "inode", [&](std::uint64_t file) -> std::optional<NameInFolder> {
            const auto found = names.find(file);
            if (found == names.end()) return {};
            return found->second;
        });
    }

  private:
    void scan_inodes() {
        ext2_inode_scan scan = nullptr;
        filesystem_.check(ext2fs_open_inode_scan(filesystem_.get(), 0, &scan), "its inodes cannot be read");
        const std::unique_ptr<ext2_struct_inode_scan, decltype(&ext2fs_close_inode_scan)> closes(
            scan, ext2fs_close_inode_scan);
        ext2_inode inode{};
        for (;;) {
            const errcode_t failed = ext2fs_get_next_inode(scan, &current_, &inode);
            if (failed == EXT2_ET_BAD_BLOCK_IN_INODE_TABLE) continue;
            filesystem_.check(failed, "its inodes cannot be read");
            if (current_ == 0) return;
            if (inode.i_links_count == 0 && current_ >= EXT2_FIRST_INO(filesystem_.get()->super)) continue;
            if (LINUX_S_ISDIR(inode.i_mode)) folders_.add(current_);
            if (!ext2fs_inode_has_valid_blocks2(filesystem_.get(), &inode)) continue;
            // Damage in one inode hides its blocks and no others.
            ext2fs_block_iterate3(filesystem_.get(), current_, BLOCK_FLAG_READ_ONLY, nullptr,
                                  &Search::on_block, this);
        }
    }

    static int on_block(ext2_filsys, blk64_t* block, e2_blkcnt_t, blk64_t, int, void* self) {
        static_cast<Search*>(self)->look_at(*block);
        return 0;
    }

    void look_at(std::uint64_t block) {
        const Extent extent{block * block_bytes_, (block + 1) * block_bytes_};
        if (current_ == EXT2_JOURNAL_INO)
            tally_.add_structure("(journal)", extent);
        else
            tally_.add(current_, extent);
    }

    const ExtFilesystem& filesystem_;
    std::uint64_t block_bytes_;
    ExtFolders folders_;
    OwnerTally tally_;
    ext2_ino_t current_ = 0;
};

}  // namespace

FileOwners ext_file_owners(const block::Reader& part, const block::ExtentSet& places) {
    const ExtSuper super = read_ext_super(part);
    const ExtFilesystem filesystem(part);
    return Search(filesystem, super, places).run();
}

}  // namespace dupengine::layout
